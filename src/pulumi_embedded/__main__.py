"""`pulumi-embedded`, which is `python -m pulumi_embedded`."""

import os

from pulumi_embedded.startup import start_quickly

__all__ = ["main"]


def main() -> None:
    """Runs the command line in a process of its own."""
    start_quickly()
    # Programs and plugins that tell people what to run next can ask for the engine's name.
    os.environ.setdefault("PULUMI_COMMAND", "pulumi-embedded")
    from pulumi_embedded import cli

    cli.main()


if __name__ == "__main__":
    main()
