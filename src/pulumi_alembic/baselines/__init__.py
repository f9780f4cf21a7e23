"""Writes baselines, and checks that they build what their scripts build. Everything runs in scratch databases."""
