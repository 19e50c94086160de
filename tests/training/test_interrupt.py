"""Interrupts wait while weights move, and an interrupted step leaves no trace."""

import signal
import threading

import numpy as np
import pytest

from nanostyle.training.interrupt import WholeStep, stopped, uninterrupted

SIGNALS = [number for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)) if number]


class Net:
    def __init__(self):
        self.mean = np.zeros(3)


@pytest.fixture(autouse=True)
def handlers():
    """All of them answered as Ctrl-C, as the program does it; afterwards as before."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield
    for number, handler in before.items():
        assert signal.signal(number, handler) is signal.default_int_handler


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_waits_for_the_end_of_the_step(number):
    net, done = Net(), []
    with pytest.raises(KeyboardInterrupt), WholeStep(net) as whole:
        whole.hold()
        whole.hold()
        signal.raise_signal(number)
        net.mean += 1
        done.append("moved")
    assert done == ["moved"] and (net.mean == 1).all()


@pytest.mark.parametrize("number", SIGNALS)
def test_before_the_weights_move_it_is_answered_at_once_and_buffers_come_back(number):
    net, done = Net(), []
    with pytest.raises(KeyboardInterrupt), WholeStep(net):
        net.mean += 1
        signal.raise_signal(number)
        done.append("moved")
    assert not done and (net.mean == 0).all()


def test_it_can_be_used_for_step_after_step():
    net = Net()
    whole = WholeStep(net)
    for i in range(3):
        with whole:
            net.mean += 1
            whole.hold()
        assert (net.mean == i + 1).all()
    with pytest.raises(ZeroDivisionError), whole:
        net.mean += 1
        1 / 0  # noqa: B018
    assert (net.mean == 3).all()


def test_a_signal_that_ends_the_program_or_is_ignored_is_left_alone():
    for handler in (signal.SIG_DFL, signal.SIG_IGN):
        before = signal.signal(signal.SIGTERM, handler)
        with WholeStep(Net()) as whole:
            whole.hold()
            assert signal.getsignal(signal.SIGTERM) is handler
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_nothing_is_held():
    def step():
        with WholeStep(Net()) as whole:
            whole.hold()
            found.append(signal.getsignal(signal.SIGINT))

    found = []
    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_what_is_saved_because_of_an_interrupt_is_not_interrupted_again():
    done = []
    with uninterrupted():
        for number in SIGNALS:
            signal.raise_signal(number)
        done.append("saved")
    assert done == ["saved"]


def test_the_sentence_names_the_step_and_the_option():
    assert str(stopped(7)) == "training stopped after step 7"
    assert stopped(7).hint == "the same command with {resume} goes on"
