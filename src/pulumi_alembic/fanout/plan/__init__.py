"""The databases of a fan-out, their waves, and groups of equal plans. Pure."""
