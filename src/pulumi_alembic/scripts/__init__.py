"""Revision scripts: their names, their order, the manifest that chains them, and what their text shows."""
