"""The program of the helper process, which `pool.WorkerPool` starts. It is no command for people."""

import sys

from pulumi_alembic.fanout.worker_pool.helper import main

main(int(sys.argv[1]))
