"""The provider plugin `postgresql` in Python: it answers as pulumi-postgresql 3.18.2 does, for seven kinds.

A stack may move between the real plugin and this one: properties, ids, replacements, read-backs and state are the same.
What it lacks it refuses by name.
"""

__all__: list[str] = []
