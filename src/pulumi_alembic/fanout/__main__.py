"""Started by `crowd.Crowd`, as a process of its own; no command for people."""

import sys

from pulumi_alembic.fanout.crew import main

main(int(sys.argv[1]))
