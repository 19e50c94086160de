"""The queue: the urgent first, canceled at once, and a worker that no job can end."""

import threading
import time

import pytest

from nanostyle.backend import halfway
from nanostyle.server import jobs
from nanostyle.server.jobs import Busy, Job, Priority, Step, Worker

WAIT = 60


@pytest.fixture
def worker():
    worker = Worker()
    yield worker
    worker.close()
    assert not worker._thread.is_alive()


def watched(work, priority=Priority.FINAL, seen=lambda job: None, **options):
    """A job, and an event for its end; `seen` is told of each change, and of the end before the event is."""
    job, over = Job(work, priority, **options), threading.Event()
    job.listeners += [seen, lambda job: over.set() if job.over else None]
    return job, over


def steps(count, log=None, name=""):
    def work(job):
        for i in range(count):
            if log is not None:
                log.append(name)
            yield Step(i + 1, count, picture=lambda i=i: i)

    return work


class Gate:
    """Work that stops before each step until it is let on."""

    def __init__(self, count=100):
        self.count, self.closed = count, False
        self.arrived, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, job):
        try:
            for i in range(self.count):
                self.arrived.release()
                assert self.go.acquire(timeout=WAIT)
                yield Step(i + 1, self.count, picture=lambda i=i: i)
                if job.keep:
                    return
        finally:
            self.closed = True


def test_a_job_is_done_and_tells_its_steps(worker):
    seen = []
    job, over = watched(steps(3), seen=lambda job: seen.append((job.state, job.n)))
    worker.add(job)
    assert over.wait(WAIT)
    assert (job.state, job.n, job.step.done) == ("done", 3, 3)
    assert job.step.picture is None
    assert seen == [("running", 1), ("running", 2), ("running", 3), ("done", 3)]


def test_a_preview_waits_for_one_step_of_a_long_job(worker):
    gate, log = Gate(), []
    long, _ = watched(gate, Priority.REFINE)
    worker.add(long)
    assert gate.arrived.acquire(timeout=WAIT)
    preview, over = watched(steps(2, log, "preview"), Priority.PREVIEW)
    worker.add(preview)
    gate.go.release()
    assert over.wait(WAIT)
    assert log == ["preview"] * 2 and long.step.done == 1
    worker.cancel(long)
    gate.go.release(5)


def test_equals_go_in_order_and_positions_are_told(worker):
    gate, log = Gate(), []
    worker.add(watched(gate, Priority.PREVIEW)[0])
    assert gate.arrived.acquire(timeout=WAIT)
    made = [watched(steps(1, log, name), Priority.FINAL) for name in "abc"]
    for job, _ in made:
        worker.add(job)
    assert [worker.position(job) for job, _ in made] == [0, 1, 2]
    assert worker.counts() == (1, 3)
    gate.go.release(100)
    assert all(over.wait(WAIT) for _, over in made)
    assert log == ["a", "b", "c"]


def test_canceling_is_answered_at_once_and_closes_the_work(worker):
    gate = Gate()
    job, over = watched(gate)
    worker.add(job)
    assert gate.arrived.acquire(timeout=WAIT)
    worker.cancel(job)
    assert over.is_set() and job.state == "canceled"
    gate.go.release(2)
    last, over = watched(steps(1))
    worker.add(last)
    assert over.wait(WAIT) and gate.closed


def test_a_job_that_waits_can_be_canceled(worker):
    gate, log = Gate(), []
    worker.add(watched(gate)[0])
    assert gate.arrived.acquire(timeout=WAIT)
    job, _ = watched(steps(1, log, "x"))
    worker.add(job)
    worker.cancel(job)
    gate.go.release(100)
    last, over = watched(steps(1))
    worker.add(last)
    assert over.wait(WAIT) and log == []


def test_a_refinement_can_be_stopped_and_kept(worker):
    gate = Gate()
    job, over = watched(gate, Priority.REFINE)
    worker.add(job)
    assert gate.arrived.acquire(timeout=WAIT)
    gate.go.release()
    assert gate.arrived.acquire(timeout=WAIT)
    worker.cancel(job, keep=True)
    gate.go.release()
    assert over.wait(WAIT)
    assert job.state == "done" and job.step.done == 2 and gate.closed


def test_a_newer_preview_of_a_client_takes_the_place_of_the_older(worker):
    gate = Gate()
    worker.add(watched(gate, Priority.FINAL)[0])
    assert gate.arrived.acquire(timeout=WAIT)
    old, _ = watched(steps(1), Priority.PREVIEW, client="tab")
    other, _ = watched(steps(1), Priority.PREVIEW, client="another tab")
    new, over = watched(steps(1), Priority.PREVIEW, client="tab")
    for job in (old, other, new):
        worker.add(job)
    assert old.state == "superseded"
    gate.go.release(100)
    assert over.wait(WAIT) and other.state == "done"


def test_the_worker_outlives_what_goes_wrong():
    faults = []
    worker = Worker(lambda job, error: faults.append(str(error)))

    def broken(job):
        yield Step(1, 2)
        raise KeyboardInterrupt("in the middle")

    job, over = watched(broken)
    worker.add(job)
    assert over.wait(WAIT)
    assert job.state == "failed" and faults == ["in the middle"]
    good, over = watched(steps(1))
    worker.add(good)
    assert over.wait(WAIT) and good.state == "done"
    worker.close()


def test_a_full_queue_says_so_and_old_jobs_are_forgotten(worker, monkeypatch):
    monkeypatch.setattr(jobs, "MOST_WAITING", 2)
    gate = Gate()
    worker.add(watched(gate)[0])
    assert gate.arrived.acquire(timeout=WAIT)
    worker.add(watched(steps(1))[0])
    last, over = watched(steps(1))
    worker.add(last)
    with pytest.raises(Busy):
        worker.add(watched(steps(1))[0])
    gate.go.release(100)
    assert over.wait(WAIT)
    monkeypatch.setattr(jobs, "KEPT", -1.0)
    fresh, over = watched(steps(1))
    worker.add(fresh)
    assert last.id not in worker.jobs and fresh.id in worker.jobs
    assert over.wait(WAIT)


def long_step(*pixels, started=None, go=None):
    """Work of one step, which tells of its pixels on the way."""

    def work(job):
        job.pixels = sum(pixels)
        for count in pixels:
            if started is not None:
                started.set()
                assert go.wait(WAIT)
            halfway.tell(count)
        yield Step(100, 100, picture=lambda: "done")

    return work


def test_a_long_step_tells_how_far_it_is(worker):
    seen = []
    job, over = watched(long_step(10, 30, 60), seen=lambda job: seen.append((job.step.done, job.n)))
    worker.add(job)
    assert over.wait(WAIT)
    assert seen[:4] == [(10, 0), (40, 0), (99, 0), (100, 1)]


def test_a_finished_download_is_at_its_end(worker):
    def work(job):
        job.pixels = 40
        yield Step(0, 100)
        halfway.tell(40)

    seen = []
    job, over = watched(work, seen=lambda job: seen.append((job.state, job.step.done)))
    worker.add(job)
    assert over.wait(WAIT)
    assert seen == [("running", 0), ("running", 99), ("running", 100), ("done", 100)]


def test_a_job_is_ended_in_the_middle_of_a_step(worker):
    started, go = threading.Event(), threading.Event()
    job, over = watched(long_step(*[1] * 1000, started=started, go=go))
    worker.add(job)
    assert started.wait(WAIT)
    worker.cancel(job)
    assert over.is_set()
    go.set()
    last, over = watched(steps(1))
    worker.add(last)
    assert over.wait(WAIT) and job.state == "canceled" and job.step is None


def test_a_job_of_a_tab_that_nobody_follows_is_ended(worker, monkeypatch):
    monkeypatch.setattr(jobs, "PATIENCE", 0.05)
    gone = worker.add(Job(steps(10**9), Priority.REFINE, client="a tab that was closed"))
    until = time.monotonic() + WAIT
    while not gone.over and time.monotonic() < until:
        time.sleep(0.01)
    assert gone.state == "canceled"
    kept, over = watched(steps(20), client="a tab")  # it has a listener
    script = worker.add(Job(steps(1), Priority.BATCH))  # it has no tab, and an hour
    worker.add(kept)
    assert over.wait(WAIT) and kept.state == "done"
    while not script.over and time.monotonic() < until:
        time.sleep(0.01)
    assert script.state == "done"


def test_what_nobody_waits_for_takes_no_place_in_the_queue(worker, monkeypatch):
    gate = Gate()
    worker.add(watched(gate)[0])
    assert gate.arrived.acquire(timeout=WAIT)
    monkeypatch.setattr(jobs, "MOST_WAITING", 1)
    left = worker.add(Job(steps(1), Priority.FINAL, client="a tab that was closed"))
    with pytest.raises(Busy):
        worker.add(watched(steps(1))[0])
    left.heard -= 2 * jobs.PATIENCE
    next_one, over = watched(steps(1))
    worker.add(next_one)
    assert left.state == "canceled"
    gate.go.release(100)
    assert over.wait(WAIT)


def test_only_so_many_finished_jobs_are_kept(monkeypatch):
    monkeypatch.setattr(jobs, "MOST_KEPT", 2)
    forgotten = []
    worker = Worker(on_forgotten=forgotten.append)
    made = [watched(steps(1)) for _ in range(4)]
    for job, over in made:
        worker.add(job)
        assert over.wait(WAIT)
    worker.close()
    assert forgotten == [made[0][0]] and list(worker.jobs.values()) == [job for job, _ in made[1:]]


def test_memory_is_given_back_when_there_is_no_work(monkeypatch):
    monkeypatch.setattr(jobs, "IDLE", 0.01)
    idle = threading.Event()
    worker = Worker(on_idle=idle.set)
    assert idle.wait(WAIT)
    job, over = watched(steps(1))
    worker.add(job)
    assert over.wait(WAIT)
    worker.close()


def test_closing_with_work_under_way_ends_the_thread():
    worker, gate = Worker(), Gate()
    job, over = watched(gate)
    worker.add(job)
    assert gate.arrived.acquire(timeout=WAIT)
    gate.go.release(100)
    worker.close()
    assert over.is_set() and gate.closed and not worker._thread.is_alive()
