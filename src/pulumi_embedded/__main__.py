"""The program `pulumi-embedded`, also `python -m pulumi_embedded`."""

import os
import signal

from pulumi_embedded.startup import start_quickly

__all__ = ["main"]


def main() -> None:
    """Run the command line in this process."""
    # While the command is loaded, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    start_quickly()
    # Programs and plugins read the engine's name here for the commands in their messages.
    os.environ.setdefault("PULUMI_COMMAND", "pulumi-embedded")
    from pulumi_embedded import cli

    cli.main()


if __name__ == "__main__":
    main()
