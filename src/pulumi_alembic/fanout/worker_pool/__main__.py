"""Started by `pool.WorkerPool`, as a process of its own; no command for people."""

import sys

from pulumi_alembic.fanout.worker_pool.helper import main

main(int(sys.argv[1]))
