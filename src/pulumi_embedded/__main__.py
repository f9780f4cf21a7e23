"""The program `pulumi-embedded`, also `python -m pulumi_embedded`."""

import os
import sys

__all__ = ["main"]

# Until Ctrl-C ends the process at once, the import of `signal` must not end in a traceback either.
sys.excepthook = lambda *_: None


def main() -> None:
    """Run the command line in this process."""
    import signal

    # While the command is loaded, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.excepthook = sys.__excepthook__
    from pulumi_embedded.startup import start_quickly

    start_quickly()
    # Programs and plugins read the engine's name here for the commands in their messages.
    os.environ.setdefault("PULUMI_COMMAND", "pulumi-embedded")
    from pulumi_embedded import cli

    cli.main()


if __name__ == "__main__":
    main()
