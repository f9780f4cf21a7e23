"""`python -m pulumi_embedded` is `pulumi-embedded`."""

from pulumi_embedded.cli import main

main()
