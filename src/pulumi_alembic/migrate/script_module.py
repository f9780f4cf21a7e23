"""Import a revision script as a Python module."""

from __future__ import annotations

import os
import re
from types import ModuleType

from alembic.util.pyfiles import load_python_file

from pulumi_alembic.scripts.revision import Revision

__all__ = ["load"]


def load(revision: Revision) -> ModuleType:
    """Return a new module of the script at each call. A stored script is compiled from its text, as it is not on disk.

    Raises:
        Exception: whatever the script raises while it is imported.

    """
    if not revision.is_stored:
        return load_python_file(str(revision.path.parent), revision.path.name)
    module = ModuleType(re.sub(r"\W", "_", revision.file))
    module.__file__ = os.path.abspath(revision.path)  # noqa: PTH100 - resolve() would follow links
    code = compile(revision.source, module.__file__, "exec")
    exec(code, vars(module))  # noqa: S102 - a stored script runs only if its checksum is known outside of the database
    return module
