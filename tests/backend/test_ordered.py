"""Several works at once: their order, their memory, their threads, and how they end."""

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from nanostyle.backend.ordered import Stopped, in_order, side_by_side
from nanostyle.backend.threads import parallel, set_threads, thread_count

others = []  # threads of other tests: their iterators may wait for the garbage collector


@pytest.fixture(autouse=True)
def three_threads():
    before = thread_count()
    others.extend(threading.enumerate())
    set_threads(3)
    yield
    set_threads(before)
    others.clear()


def results(futures):
    return [future.result() for future in futures]


def no_thread_left():
    found = set(threading.enumerate()).difference(others)
    return not [thread for thread in found if thread.name == "nanostyle-work"]


def test_results_stand_in_the_order_of_the_items():
    def work(i):
        time.sleep(0.002 * (i % 4))
        return i * i

    assert results(in_order(work, range(30))) == [i * i for i in range(30)]
    assert results(in_order(work, [])) == []
    assert no_thread_left()


def test_works_are_done_at_the_same_time():
    together = threading.Barrier(3, timeout=30)  # breaks unless three works wait at once
    results(in_order(lambda _: together.wait(), range(6)))


def test_items_are_asked_for_a_few_ahead():
    source = iter(range(1000))
    futures = in_order(lambda i: i, source)
    assert next(futures).result() == 0
    futures.close()
    assert 0 < next(source) < 10


def test_an_error_stands_in_the_place_of_its_item():
    def work(i):
        if i == 2:
            raise ValueError("two")
        return i

    futures = list(in_order(work, range(5)))
    assert [type(future.exception()) for future in futures].count(ValueError) == 1
    with pytest.raises(ValueError, match="two"):
        futures[2].result()
    assert futures[4].result() == 4


def test_all_works_together_take_no_more_than_the_memory():
    lock, held, most = threading.Lock(), [0], [0]

    def work(size):
        with lock:
            held[0] += size
            most[0] = max(most[0], held[0])
        time.sleep(0.002)
        with lock:
            held[0] -= size
        return size

    sizes = [3, 1, 4, 1, 5, 9, 2, 6, 50, 5, 3]
    assert results(in_order(work, sizes, size=float, memory=10)) == sizes
    assert most == [50]  # alone
    most[0] = 0
    results(in_order(work, sizes[:8], size=float, memory=10))
    assert 5 < most[0] <= 10


def test_a_work_that_is_alone_has_all_threads_and_many_have_one_each():
    def alone(_):
        at_once = threading.Barrier(3, timeout=60)  # breaks unless three jobs run at once
        return len(set(parallel(lambda _: (at_once.wait(), threading.get_ident())[1], range(6))))

    def beside_others(_):
        together.wait()
        threads = parallel(lambda _: (time.sleep(0.01), threading.get_ident())[1], range(6))
        together.wait()
        return len(set(threads))

    assert results(in_order(alone, range(3), size=lambda _: 2, memory=1)) == [3, 3, 3]
    together = threading.Barrier(3, timeout=60)
    assert results(in_order(beside_others, range(3))) == [1, 1, 1]


@pytest.mark.parametrize("way", ["closed", "interrupted"])
def test_the_works_stop_and_none_is_begun_any_more(way):
    begun, ended, three = [], [], threading.Event()

    def work(i):
        begun.append(i)
        if len(begun) >= 3:
            three.set()
        if i == 0:
            return i
        try:
            while True:
                parallel(lambda _: time.sleep(0.001), range(2))
        except Stopped:
            ended.append(i)
            raise

    def items():
        yield from range(3)
        if way == "interrupted":
            assert three.wait(60)  # what has not begun is left out
            raise KeyboardInterrupt
        yield from range(3, 100)

    futures = in_order(work, items())
    if way == "closed":
        assert next(futures).result() == 0
        futures.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            list(futures)
    assert no_thread_left()
    assert sorted(ended) == sorted(set(begun) - {0})


def test_a_thread_that_works_may_close_the_iterator():
    """As the garbage collector does where it happens to run in such a thread."""
    given, ends = threading.Event(), queue.Queue()

    def work(i):
        if i == 1:
            given.wait(60)
            try:
                ends.put(futures.close())
            except RuntimeError as error:
                ends.put(error)

    futures = in_order(work, range(100))
    next(futures)
    given.set()
    assert ends.get(timeout=60) is None


def test_without_threads_the_calling_thread_works(monkeypatch):
    def refused(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert results(in_order(lambda _: threading.current_thread(), range(3))) == [threading.main_thread()] * 3


class Elsewhere:
    """Somebody who does two items at a time, in a thread, and checks that nothing is asked of it in vain."""

    most, checks = 4, 0

    def __init__(self, pool):
        self.pool, self.begun = pool, []

    def begin(self, item):
        self.begun = [future for future in self.begun if not future.done()]
        if len(self.begun) == 2:
            return None
        self.begun.append(self.pool.submit(lambda: (time.sleep(0.01), ("there", item))[1]))
        return self.begun[-1]

    def check(self):
        Elsewhere.checks += 1


@pytest.mark.parametrize("at_once", [True, False])
def test_others_work_too_and_the_order_stays(at_once):
    def work(item):
        time.sleep(0.01)
        return "here", item

    with ThreadPoolExecutor(2) as pool:
        found = results(in_order(work, range(40), at_once=at_once, elsewhere=Elsewhere(pool)))
    assert [item for _, item in found] == list(range(40))
    assert {where for where, _ in found} == {"here", "there"} and Elsewhere.checks


def test_of_others_no_more_is_begun_than_may_wait():
    free, begun = threading.Event(), []

    def items():
        for item in range(100):
            begun.append(item)
            yield item

    with ThreadPoolExecutor(2) as pool:
        futures = in_order(lambda item: free.wait(60), items(), elsewhere=Elsewhere(pool))
        threading.Timer(0.3, free.set).start()
        next(futures)
        assert len(begun) <= 2 * thread_count() + 1 + Elsewhere.most + 1
        futures.close()


def test_side_by_side_the_next_begins_before_the_first_has_ended_and_no_more_than_asked_for():
    two, lock, at_work, most = threading.Barrier(2, timeout=60), threading.Lock(), set(), []

    def work(item):
        with lock:
            at_work.add(item)
            most.append(len(at_work))
        if item < 2:
            two.wait()  # breaks unless both are at work at once
        time.sleep(0.002)  # time for a third to begin, if one could
        with lock:
            at_work.remove(item)
        return item * 10

    assert list(side_by_side(work, range(6), 2)) == [0, 10, 20, 30, 40, 50]
    assert max(most) == 2
    assert no_thread_left()


def test_side_by_side_sees_the_context_of_the_caller_and_is_alone_within_works_at_once():
    value = ContextVar("value", default=0)
    value.set(7)
    assert list(side_by_side(lambda item: value.get() + item, range(3), 3)) == [7, 8, 9]
    threads = parallel(lambda item: set(side_by_side(lambda _: threading.get_ident(), range(5), 3)), range(3))
    assert all(len(found) == 1 for found in threads)


def test_an_error_side_by_side_is_raised_when_the_others_have_stopped():
    ended = []

    def work(item):
        if item == 1:
            raise OSError("the disk is full")
        ended.append(item)

    with pytest.raises(OSError, match="the disk is full"):
        list(side_by_side(work, range(50), 3))
    assert no_thread_left()
    assert len(ended) < 50
