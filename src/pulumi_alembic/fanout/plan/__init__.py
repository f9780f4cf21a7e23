"""The databases of a fan-out, their waves, and groups of databases with equal plans. Pure."""
