"""What holds for all tests."""

import signal

import pytest
from hypothesis import HealthCheck, settings

# What an assertion of the shared pieces compared is shown too.
pytest.register_assert_rewrite("tests.support")

# A shell starts its background jobs with Ctrl-C ignored, and so would be all that the tests start: those of Ctrl-C
# would wait forever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Under nohup a closed terminal is ignored, and so it would be by the programs that the tests start.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes is up to the machine and what else it does.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
