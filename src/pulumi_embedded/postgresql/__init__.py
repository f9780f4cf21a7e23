"""The provider plugin `postgresql` in Python. It answers like pulumi-postgresql 3.18.2, for seven kinds of resources.

A stack can change between the real plugin and this one: properties, ids, replacements, reads and state are the same.
Other kinds and options are rejected by name.
"""

__all__: list[str] = []
