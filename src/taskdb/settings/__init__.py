"""A stack's configuration, typed and validated. No other package reads it."""

from taskdb.settings.admin import Admin
from taskdb.settings.settings import Settings

__all__ = ["Admin", "Settings"]
