"""What holds for all tests."""

import signal

# A shell starts its background jobs with Ctrl-C ignored, and so would be all that the tests start: those of Ctrl-C
# would wait forever.
signal.signal(signal.SIGINT, signal.default_int_handler)
