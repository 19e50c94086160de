"""Devices, primitives, memory and threads: what every other room relies on."""

import os
import subprocess
import sys
import textwrap
import threading
import time
import types

import numpy as np
import pytest

from nanostyle.backend import dispatch as dispatch_module
from nanostyle.backend.arena import Arena
from nanostyle.backend.device import CPU, Device, module_of, pick_device, to_device, to_host
from nanostyle.backend.dispatch import primitive, reference_only
from nanostyle.backend.memory import empty, scratch
from nanostyle.backend.threads import parallel, set_threads, thread_count
from nanostyle.errors import NanostyleError


@pytest.fixture(autouse=True)
def same_threads_afterwards():
    before = thread_count()
    yield
    set_threads(before)


def run_python(code, **environment):
    """What a fresh interpreter prints; it has a minute, so a deadlock fails and does not hang."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def run_threads(work, items):
    failures = []

    def guarded(item):
        try:
            work(item)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(item,), daemon=True) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "deadlock"
    return failures


# --- devices ------------------------------------------------------------------------------------------------


def fake_cupy(available):
    return types.SimpleNamespace(is_available=lambda: available)


def test_auto_and_cpu_without_cupy(monkeypatch):
    monkeypatch.setattr("nanostyle.backend.device.cupy", lambda: None)
    assert pick_device() == pick_device("auto") == pick_device("cpu") == CPU


@pytest.mark.parametrize(
    ("module", "why"), [(None, "CuPy is not installed"), (fake_cupy(False), "CuPy finds no usable GPU")]
)
def test_cuda_that_cannot_be_had_is_an_error_that_says_why(monkeypatch, module, why):
    monkeypatch.setattr("nanostyle.backend.device.cupy", lambda: module)
    with pytest.raises(NanostyleError, match=f"device cuda: {why}.*device cpu"):
        pick_device("cuda")
    assert pick_device("auto") == CPU


def test_a_usable_gpu_is_taken(monkeypatch):
    monkeypatch.setattr("nanostyle.backend.device.cupy", lambda: fake_cupy(True))
    assert pick_device("auto") == pick_device("cuda") == Device("cuda", "tf32")
    assert pick_device("cpu") == CPU


def test_an_unknown_device_is_named():
    with pytest.raises(ValueError, match="expected auto, cpu or cuda, got 'tpu'"):
        pick_device("tpu")


def test_numpy_arrays_are_at_home_on_the_cpu():
    x = np.zeros(3)
    assert module_of(x) is module_of(np.float32(1)) is np
    assert to_device(x, CPU) is x
    assert to_host(x) is x


# --- primitives ---------------------------------------------------------------------------------------------


def max_pool_forward(x, *, size, stride):
    """Has the name of a primitive with an implementation in `cpu/pool.py`, which covers size = stride only."""
    return "reference"


max_pool_forward.__module__ = "nanostyle.autograd.ops.pool"
pooled = primitive(max_pool_forward)
PICTURE = np.zeros((1, 4, 4, 1), np.float32)


def test_float32_goes_to_the_implementation():
    assert isinstance(pooled(PICTURE, size=2, stride=2), np.ndarray)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_other_types_go_to_the_reference(dtype):
    assert pooled(PICTURE.astype(dtype), size=2, stride=2) == "reference"


def test_what_the_implementation_does_not_cover_goes_to_the_reference():
    assert pooled(PICTURE, size=3, stride=1) == "reference"


def test_without_an_implementation_the_function_itself_runs():
    def nothing_like_it(x):
        return "reference"

    nothing_like_it.__module__ = "nanostyle.autograd.ops.pool"
    assert primitive(nothing_like_it)(PICTURE) == "reference"
    nothing_like_it.__module__ = "nanostyle.autograd.ops.no_such_file"
    assert primitive(nothing_like_it)(PICTURE) == "reference"


def test_implementations_can_be_switched_off():
    with pytest.raises(KeyError), reference_only():
        assert pooled(PICTURE, size=2, stride=2) == "reference"
        raise KeyError
    assert isinstance(pooled(PICTURE, size=2, stride=2), np.ndarray)


def test_the_reference_is_within_reach():
    assert pooled.reference is max_pool_forward
    assert pooled.__doc__ == max_pool_forward.__doc__


def test_a_numpy_scalar_is_not_taken_for_a_gpu_array():
    assert dispatch_module._home(np.float32(1)) == "cpu"
    assert dispatch_module._home(np.float64(1)) is None


# --- memory -------------------------------------------------------------------------------------------------


def address(x):
    return x.__array_interface__["data"][0]


@pytest.fixture
def arena(monkeypatch):
    arena = Arena()
    monkeypatch.setattr("nanostyle.backend.memory._arena", arena)
    return arena


def test_arrays_have_the_shape_and_type_asked_for(arena):
    empty((1 << 21,), np.uint8)
    for shape, dtype in [((3, 400, 500), np.float32), ((100_000,), np.float64), ((2,), np.int8), ((0, 5), np.float32)]:
        x = empty(shape, dtype)
        assert x.shape == shape and x.dtype == dtype
        assert x.flags.c_contiguous and x.flags.writeable


def test_large_arrays_come_from_the_arena_and_small_ones_do_not(arena):
    large, small = empty((512, 512)), empty((8, 8))
    assert arena.in_use == large.nbytes and small.nbytes == 256
    where = address(large)
    del large
    assert address(empty((512, 512), like=small)) == where


# --- work buffers -------------------------------------------------------------------------------------------


def test_scratch_is_one_buffer_per_name_and_thread():
    a = scratch("one", (10, 10))
    assert address(scratch("one", (5, 3))) == address(a)
    assert address(scratch("two", (10, 10))) != address(a)
    seen = []
    run_threads(lambda _: seen.append(address(scratch("one", (10, 10)))), [0])
    assert seen != [address(a)]


def test_scratch_grows_and_changes_type():
    scratch("grows", (2,))
    x = scratch("grows", (300, 400), np.float64)
    assert x.shape == (300, 400) and x.dtype == np.float64 and x.flags.c_contiguous
    assert scratch("grows", (7,), bool).dtype == bool
    assert scratch("empty", (0, 3)).shape == (0, 3)


# --- threads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_results_stand_in_the_order_of_the_items(threads):
    set_threads(threads)

    def job(i):
        time.sleep(0.002 * (i % 3))
        return i * i

    assert parallel(job, range(40)) == [i * i for i in range(40)]
    assert parallel(job, []) == []


def test_all_threads_work_and_no_more():
    set_threads(3)
    together = threading.Barrier(3, timeout=30)  # breaks unless three jobs run at once
    names = parallel(lambda _: (together.wait(), threading.current_thread().name)[1], range(6))
    assert len(set(names)) <= 3


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("where", [0, 5, 19])
def test_an_exception_comes_out_and_leaves_nothing_running(threads, where):
    set_threads(threads)
    running = []

    def job(i):
        running.append(i)
        try:
            time.sleep(0.005)
            if i == where:
                raise KeyError("job", i)
        finally:
            running.remove(i)

    with pytest.raises(KeyError, match=str(where)):
        parallel(job, range(20))
    assert running == []
    assert parallel(lambda i: i, range(20)) == list(range(20))


def test_after_an_exception_no_further_items_are_begun():
    set_threads(2)
    begun = []

    def job(i):
        begun.append(i)
        if i == 0:
            raise ValueError
        time.sleep(0.002)

    with pytest.raises(ValueError):
        parallel(job, range(1000))
    assert len(begun) < 500


def test_a_parallel_inside_a_job_runs_in_the_thread_of_the_job():
    set_threads(3)

    def inner(_):
        time.sleep(0.005)  # time for another thread to take an item, if one could
        return threading.get_ident()

    def outer(i):
        return threading.get_ident(), parallel(inner, range(10 if i == 0 else 0))

    (mine, theirs), *_ = parallel(outer, range(4))
    assert theirs == [mine] * 10


def test_several_callers_at_once():
    set_threads(3)

    def caller(k):
        for _ in range(50):
            assert parallel(lambda i: i + k, range(10)) == [i + k for i in range(10)]

    assert not run_threads(caller, range(6))


def test_the_number_of_threads_may_change_while_others_compute():
    stop = threading.Event()

    def caller(_):
        while not stop.is_set():
            assert parallel(lambda i: i, range(10)) == list(range(10))

    def changer(_):
        try:
            for k in range(30):
                set_threads(1 + k % 4)
        finally:
            stop.set()

    failures = run_threads(lambda i: changer(i) if i == 0 else caller(i), range(4))
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes_and_ends():
    """With a pool of threads, a lock of the arena that is held, and memory on loan at the moment of the fork."""
    code = """
        import os, threading
        import numpy as np
        from nanostyle.backend.memory import empty
        from nanostyle.backend.threads import parallel, set_threads
        set_threads(3)
        everyone = threading.Barrier(3, timeout=30)
        parallel(lambda i: everyone.wait(), range(3))
        kept = empty((1 << 20,))
        stop = threading.Event()
        def churn():
            while not stop.is_set():
                empty((1 << 20,))
        threading.Thread(target=churn, daemon=True).start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                kept = None
                x = empty((1 << 20,))
                y = parallel(lambda i: float((np.ones((64, 64)) @ np.ones((64, 64))).sum()), range(10))
                together = threading.Barrier(2, timeout=30)  # breaks unless two threads are at work
                parallel(lambda i: together.wait(), range(2))
                os._exit(0 if y == [64.0**3] * 10 else 3)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        print("done")
    """
    assert run_python(code) == "done"


@pytest.mark.parametrize("given", ["0", "-2", "two", "1.5", ""])
def test_a_wrong_number_of_threads_is_refused(monkeypatch, given):
    before = thread_count()
    monkeypatch.setenv("NANOSTYLE_THREADS", given)
    with pytest.raises(ValueError, match=f"threads: expected a whole number of 1 or more, got '{given}'"):
        set_threads()
    with pytest.raises(ValueError, match="got 0"):
        set_threads(0)
    assert thread_count() == before


def test_the_environment_sets_the_threads_and_the_caller_overrules_it():
    code = "from nanostyle.backend.threads import set_threads, thread_count;"
    code += "print(thread_count()); set_threads(2); print(thread_count())"
    assert run_python(code, NANOSTYLE_THREADS="5").split() == ["5", "2"]


def test_without_a_wish_all_processors_are_used(monkeypatch):
    monkeypatch.delenv("NANOSTYLE_THREADS", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS and Windows
    set_threads()
    assert thread_count() == os.cpu_count()


def test_blas_has_one_thread_from_the_import_on_and_keeps_it():
    code = """
        from threadpoolctl import threadpool_info, threadpool_limits
        import numpy, gc
        import nanostyle.backend.dispatch
        from nanostyle.backend.threads import set_threads
        blas = lambda: {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}
        assert blas() <= {1}, blas()
        with threadpool_limits(2, user_api="blas"):
            pass
        gc.collect()
        assert blas() <= {1}, blas()
        threadpool_limits(2, user_api="blas")
        set_threads(4)
        assert blas() <= {1}, blas()
        print("one")
    """
    assert run_python(code, OPENBLAS_NUM_THREADS="4") == "one"


def test_results_do_not_depend_on_what_blas_is_set_to():
    """Another BLAS, that cannot be set, costs speed alone: nothing raises where threadpoolctl finds none."""
    code = """
        import threadpoolctl
        threadpoolctl.ThreadpoolController.__init__ = lambda self: setattr(self, "lib_controllers", [])
        from nanostyle.backend.threads import parallel, set_threads
        set_threads(2)
        print(parallel(lambda i: i, range(3)))
    """
    assert run_python(code) == "[0, 1, 2]"


def test_a_limit_on_threads_leaves_the_work_to_the_calling_one(monkeypatch):
    before = thread_count()

    def refuse(self):
        raise RuntimeError("can't start new thread")

    set_threads(4)
    try:
        monkeypatch.setattr("threading.Thread.start", refuse)
        assert parallel(lambda i: i * i, range(20)) == [i * i for i in range(20)]
        assert thread_count() == 1
    finally:
        monkeypatch.undo()
        set_threads(before)
    assert parallel(lambda i: i * i, range(20)) == [i * i for i in range(20)]
