"""Run a Pulumi Python program, as a process in the program's virtual environment.

It reads its instructions as JSON from standard input, because they contain secrets. It imports nothing of this package,
so that the Pulumi SDK is enough. It follows `pulumi-language-python-exec` (3.260).
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import logging
import os
import pickle
import runpy
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

__all__ = ["main", "steady_pickler"]

# Exit codes for a program that ran to its end, and for one that failed and printed why. A program that exits early,
# even with code 0, has not registered all its resources.
_ENDED = 33
_SHOWN = 32


def main() -> int:
    """Run the program that standard input describes, and return the exit code that tells how it ended."""
    # A collection at the end would take 0.1 s, and collections while the SDK loads are useless.
    atexit.register(gc.freeze)
    gc.disable()
    try:
        import pulumi
    except ImportError:
        print(
            f"The Pulumi SDK is not installed for {sys.executable}; install it: {sys.executable} -m pip install pulumi",
            file=sys.stderr,
        )
        return 1
    # The SDK stays until the end, so collections in it would be useless.
    gc.freeze()
    gc.enable()
    line = sys.stdin.readline()
    if not line:
        return 0
    instructions = json.loads(line)
    _configure(instructions)
    os.chdir(instructions["pwd"])
    sys.argv = [instructions["program"]]
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(max_workers=instructions["parallel"] * 4)
    loop.set_default_executor(executor)
    # A failed program leaves futures behind, and asyncio's messages about them are not useful.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        with steady_pickler():
            loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: _run(instructions["program"])))
    except SystemExit as exit_:
        if exit_.code not in (None, 0):
            raise
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return _SHOWN
    except Exception:
        pulumi.log.error("Program failed with an unhandled exception:\n" + _own_traceback(instructions["program"]))
        return _SHOWN
    finally:
        executor.shutdown(wait=True)
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()
    return _ENDED


def _configure(instructions: dict[str, Any]) -> None:
    import pulumi.log
    import pulumi.runtime

    # The SDK sends four debug messages for every resource. They are not shown, and each would take a round trip.
    pulumi.log.debug = lambda *_, **__: None
    pulumi.runtime.set_all_config(instructions["config"], instructions["secret_keys"])
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            project=instructions["project"],
            stack=instructions["stack"],
            organization=instructions["organization"],
            monitor=instructions["monitor"],
            engine=instructions["engine"],
            parallel=instructions["parallel"],
            dry_run=instructions["dry_run"],
            root_directory=instructions["root_directory"],
        )
    )


@contextmanager
def steady_pickler() -> Iterator[None]:
    """Undo, after each dynamic resource, the SDK's change (3.272) of Python's pickler.

    The SDK wraps a method of the pickler again for each resource. After about 310 dynamic resources that exceeds
    Python's limit of recursion. The pickled text stays the same.
    """
    from pulumi.dynamic import dynamic

    pickler: Any = pickle._Pickler
    serialize = dynamic.serialize_provider

    def serialized(provider: Any) -> Any:
        method = pickler._batch_setitems
        try:
            return serialize(provider)
        finally:
            pickler._batch_setitems = method

    dynamic.serialize_provider = serialized
    try:
        yield
    finally:
        dynamic.serialize_provider = serialize


def _run(program: str) -> None:
    runpy.run_path(program, run_name="__main__")


def _own_traceback(program: str) -> str:
    """Return the traceback from the program's first frame on, without the SDK's frames above it."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    entry = _module(program)
    for index, frame in enumerate(frames):
        if _module(frame.filename) == entry:
            return traceback.format_exc(limit=index - len(frames))
    return traceback.format_exc()


def _module(path: str) -> str:
    stem, extension = os.path.splitext(path)  # noqa: PTH122
    return os.path.abspath(stem if extension else os.path.join(stem, "__main__"))  # noqa: PTH100, PTH118


if __name__ == "__main__":
    sys.exit(main())
