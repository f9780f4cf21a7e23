"""Migrate many databases of a server as one resource, in waves and with several processes."""
