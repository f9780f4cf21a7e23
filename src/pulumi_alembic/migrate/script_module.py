"""A script as a Python module."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from types import CodeType, ModuleType

from pulumi_alembic.scripts.revision import Revision

__all__ = ["load"]


def load(revision: Revision) -> ModuleType:
    """Return a new module of the script at each call. It is made of the text that was checked, not of the file.

    Raises:
        Exception: whatever the script raises while it is imported.

    """
    module = ModuleType(re.sub(r"\W", "_", revision.file))
    module.__file__ = os.path.abspath(revision.path)  # noqa: PTH100 - resolve() would follow links
    code = _compiled(revision.source, module.__file__)
    exec(code, vars(module))  # noqa: S102 - a stored script runs only if its checksum is known outside of the database
    return module


@lru_cache(maxsize=4096)
def _compiled(source: str, path: str) -> CodeType:
    """Compile a script once for all that run it in one process: the check, the review and the update.

    Compiled from bytes, a declared encoding and a byte order mark mean what they mean in a file.
    """
    return compile(source.encode(), path, "exec", dont_inherit=True)
