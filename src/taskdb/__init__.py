"""The database of the task application: its server, roles, grants and models."""

import sys

if sys.argv[0].endswith("/taskdb"):
    # Until Ctrl-C ends the process at once, the import of `signal` must not end in a traceback either.
    sys.excepthook = lambda *_: None
    import signal

    # While the command is loaded, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.excepthook = sys.__excepthook__
