"""Jobs are done once each, by whoever is free, and a slow rank holds nobody up."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from nanostyle.backend.comm import dealing
from nanostyle.backend.comm.dealing import Dealer, prepare
from nanostyle.backend.comm.launch import RanksLost

MAIN = threading.main_thread()


def dealt(ranks, jobs, work, patience=60.0):
    """What the main thread as rank 0 and `ranks` - 1 threads make of the jobs."""
    prepare(work)
    with ThreadPoolExecutor(ranks - 1) as pool:
        return list(Dealer(pool, ranks, jobs, lambda: patience).results())


@pytest.mark.parametrize("ranks", [2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 500])
def test_each_job_is_done_once(ranks, count):
    done = Counter()

    def work(job):
        done[job] += 1
        return -job

    results = dealt(ranks, list(range(count)), work)
    assert sorted(results) == [(job, -job) for job in range(count)]
    assert set(done.values()) <= {1} and len(done) == count


@pytest.mark.parametrize("slow_is_first", [True, False])
def test_400_jobs_with_one_rank_50_times_slower_take_no_longer_than_they_must(slow_is_first):
    """Two ranks take 10 ms, one 500 ms. The best division: the slow one does 3, the others 397 in 1.985 s."""
    slow, lock = [MAIN] if slow_is_first else [], threading.Lock()
    took = []

    def work(job):
        with lock:
            me = threading.current_thread()
            if not slow and me is not MAIN:
                slow.append(me)
        begun = time.monotonic()
        time.sleep(0.5 if me in slow else 0.01)
        if me not in slow:
            took.append(time.monotonic() - begun)  # more than 10 ms where the machine is busy
        return me in slow

    begun = time.monotonic()
    results = dealt(3, list(range(400)), work)
    seconds = time.monotonic() - begun
    assert sorted(job for job, _ in results) == list(range(400))
    best = max(sum(took) / 2, 1.985)
    assert sum(slow for _, slow in results) <= 1 + best / 0.5
    assert seconds < 1.5 * best  # `bench/speed/ranks.py` measures


def test_small_jobs_go_in_lots_and_what_a_rank_does_not_reach_goes_back(monkeypatch):
    lots = []
    do = dealing._do
    monkeypatch.setattr(dealing, "_do", lambda lot, pace: (lots.append(len(lot)), do(lot, pace))[1])
    dealt(3, list(range(3000)), lambda job: job)
    assert max(lots) > 50


def test_jobs_that_nobody_has_begun_come_back_to_a_rank_that_is_free():
    begun, of_main, all_others = threading.Event(), [], threading.Event()

    def work(job):
        if threading.current_thread() is not MAIN:
            begun.set()
            all_others.wait(60)
            return
        begun.wait(60)
        of_main.append(job)
        if len(of_main) == 3:
            all_others.set()

    assert sorted(job for job, _ in dealt(2, list(range(4)), work)) == [0, 1, 2, 3]
    assert len(of_main) == 3


def test_an_exception_of_a_job_comes_to_rank_0():
    def work(job):
        if job == 5:
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        dealt(3, list(range(20)), work)


def test_a_rank_that_hangs_is_not_waited_for_for_ever():
    free = threading.Event()

    def work(job):
        if threading.current_thread() is not MAIN:
            free.wait(60)

    prepare(work)
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(RanksLost, match="rank 0 of 2 has waited 1 s"):
            list(Dealer(pool, 2, list(range(5)), lambda: 0.5).results())
        free.set()
