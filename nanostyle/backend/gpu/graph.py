"""CUDA graphs: work on a GPU that is recorded once and then repeated without Python.

A pass of the transformer network is some 50 launches, a step of training some 340, and from Python each costs about as
much as it takes to run. Recorded as a graph they are one launch.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, NamedTuple

import numpy as np
import numpy.typing as npt

from nanostyle.backend.device import CuPy, loaded_cupy
from nanostyle.backend.types import Array, R

# Recordings that are kept, each with its memory: training by prediction alternates between two, and between eight where
# photos move and come a second time.
_MOST = 8


class Recording(NamedTuple):
    """A graph, the arrays it reads and writes, and the memory that everything between them is in."""

    graph: CuPy
    arrays: list[CuPy]
    constants: list[tuple[CuPy, npt.NDArray[Any]]]
    result: Any  # whatever the work returns
    pool: CuPy


class Repeated(Generic[R]):
    """`work`, called with arrays of the host or the device; by name with more arrays, floats and constants.

    A float may be another one each time: `work` is given an array without axes that holds it.

    The first call with arrays of given shapes just does the work, which compiles the kernels. The second records it,
    from then on only the graph is launched. What a recording holds is overwritten by the next call with such arrays.

    The result of `work` must depend on nothing but the arrays, the constants, and arrays of the device that stay where
    they are (a network's parameters). `work` must neither look at a value on the device nor upload one.
    """

    def __init__(self, work: Callable[..., R]) -> None:
        self._work = work
        self._recordings: OrderedDict[tuple[Hashable, ...], Recording | None] = OrderedDict()

    def __call__(self, *arrays: Array, **named: Any) -> R:
        """What `work` returns: arrays of the device, valid until the next call."""
        names = [name for name, value in named.items() if hasattr(value, "dtype")]
        floats = [name for name, value in named.items() if isinstance(value, float)]
        constants = {name: value for name, value in named.items() if name not in (*names, *floats)}
        numbers = [np.array([named[name] for name in floats], np.float32)] if floats else []
        values = [*arrays, *(named[name] for name in names), *numbers]
        key = (*((v.shape, v.dtype.str) for v in values), *names, *floats, *sorted(constants.items()))

        def run(values: list[Array]) -> R:
            split = len(arrays)
            by_name = dict(zip(names, values[split:], strict=False)) | {n: values[-1][i] for i, n in enumerate(floats)}
            return self._work(*values[:split], **by_name, **constants)

        if key not in self._recordings:
            self._recordings[key] = None
            while len(self._recordings) > _MOST:
                self._recordings.popitem(last=False)
            return run([loaded_cupy().asarray(v) for v in values])
        self._recordings.move_to_end(key)
        recording = self._recordings[key]
        if recording is None:
            recording = self._recordings[key] = record(run, values)
        for place, value in zip(recording.arrays, values, strict=True):
            if isinstance(value, np.ndarray):
                place.set(value)
            else:
                place[...] = value
        recording.graph.launch()
        result: R = recording.result
        return result


def record(run: Callable[[list[Array]], Any], like: list[Array]) -> Recording:
    """Record the launches of `run` for arrays like those in `like`, with memory of their own; compute nothing yet."""
    global _constants
    cp = loaded_cupy()
    arrays = [cp.empty(v.shape, v.dtype) for v in like]
    # Out of CuPy's own pool: where that is full it gives back what it keeps, and never what this one does, which the
    # graph writes to.
    stream, pool = cp.cuda.Stream(non_blocking=True), cp.cuda.MemoryPool(cp.get_default_memory_pool().malloc)
    constants: list[tuple[CuPy, npt.NDArray[Any]]] = []
    # What is freed on the way goes back to this pool alone, so nobody else gets memory that the graph writes to.
    with cp.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        _constants = constants
        try:
            result = run(arrays)
        except BaseException:
            with contextlib.suppress(Exception):  # CUDA complains once more of what broke the capture
                stream.end_capture()
            raise
        finally:
            _constants = None
        graph = stream.end_capture()
    for place, values in constants:
        place.set(values)
    return Recording(graph, arrays, constants, result, pool)


# The constants of the recording that is being made.
_constants: list[tuple[CuPy, npt.NDArray[Any]]] | None = None


def recording() -> bool:
    """Whether a recording is being made: what is launched is not done yet."""
    return _constants is not None


def constant(values: npt.NDArray[Any]) -> Array:
    """`values` on the device, for a kernel to read. While work is recorded no upload is allowed: it follows later.

    Their place is not in the recording's own memory: of that, what was free when they came had been written to before,
    and will be at each launch.
    """
    cp = loaded_cupy()
    if _constants is None:
        return cp.asarray(values)
    with cp.cuda.using_allocator(cp.get_default_memory_pool().malloc):
        place = cp.empty(values.shape, values.dtype)
    _constants.append((place, values))
    return place
