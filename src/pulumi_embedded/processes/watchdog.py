"""End the plugins and the program if the engine ends without ending them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

__all__ = ["Watchdog"]

# If the input ends without the word `done`, the script asks the listed process groups to end, kills the remaining ones,
# and removes the directory.
_SCRIPT: Final = """
groups=""
folder=""
while read -r word; do
    case $word in
        done) exit 0 ;;
        /*) folder=$word ;;
        *) groups="$groups $word" ;;
    esac
done
[ -z "$folder" ] || trap 'rm -rf "$folder"' EXIT
for group in $groups; do kill -TERM "-$group" 2> /dev/null; done
for turn in 1 2 3 4 5; do
    sleep 1
    left=""
    for group in $groups; do kill -0 "-$group" 2> /dev/null && left="$left $group"; done
    [ -z "$left" ] && exit 0
done
for group in $left; do kill -KILL "-$group" 2> /dev/null; done
"""


class Watchdog:
    """A separate process that notices the end of this one by the end of the pipe between them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            # The only inheritable file is the stack's lock, which is held until everything has ended.
            close_fds=False,
        )

    def watch(self, group: int) -> None:
        """End the process group if this process ends before `close`."""
        self._say(str(group))

    def remove(self, folder: Path) -> None:
        """Remove the directory if this process ends before `close`."""
        self._say(str(folder))

    def close(self) -> None:
        """End the watchdog, because nothing is left to end."""
        self._say("done")
        self._process.wait()
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.close()

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
