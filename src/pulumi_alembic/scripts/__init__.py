"""Revision scripts: names, order, the manifest of their checksums, plans, and static checks of their source."""
