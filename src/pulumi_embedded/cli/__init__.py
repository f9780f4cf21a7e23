"""The command line `pulumi-embedded`."""

from pulumi_embedded.cli.root import main

__all__ = ["main"]
