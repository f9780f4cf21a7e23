"""The database of the task application: its server, roles, grants and models."""

import signal
import sys

if sys.argv[0].endswith("/taskdb"):
    # While the command is loaded, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
