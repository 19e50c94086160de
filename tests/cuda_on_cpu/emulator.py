"""Builds kernel files with g++ and launches their kernels; every launch is a test of determinism too."""

import contextlib
import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from nanostyle.backend.device import cupy, pick_device
from nanostyle.backend.gpu import launch
from nanostyle.backend.gpu.tiling import PixelTile
from tests.cuda_on_cpu import device
from tests.cuda_on_cpu.cuda import FakeGpu
from tests.cuda_on_cpu.device import DeviceArray, memory_at

HERE = Path(__file__).parent
ORDERS = {"forward": 0, "backward": 1, "shuffled": 2}
FLAGS = ("-std=c++20", "-O2", "-g1", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-w")
CHECKS = ("-fsanitize=thread", "-fsanitize=bounds,alignment")
_orders = tuple(ORDERS.values())
KERNEL = re.compile(r'extern "C" __global__ void __launch_bounds__\((\w+)(?:, [^)]+)?\) (\w+)\(')
NAMES = {"f": np.float32, "e": np.float16, "i": np.int32, "B": np.uint8, "Q": np.uint64}

# Every way in which the kernel files are compiled. A launch with other macros is a finding.
_WORDS = [{"HALF": half, "VEC": vec} for half, vec in ((0, 1), (0, 4), (1, 1), (1, 8))]
_PRODUCTS = [{"HALF": 1, "TF32": 0}, {"HALF": 0, "TF32": 1}, {"HALF": 0, "TF32": 0}]


def _conv(
    types: dict[str, int], m: int, n: int, stride: int = 1, *, taps: int = 3, stages: int = 3
) -> tuple[str, dict[str, int]]:
    return "conv", {**types, "BM": m, "BN": n, "STRIDE": stride, "TAPS": taps, "STAGES": stages}


VARIANTS: list[tuple[str, dict[str, int]]] = [
    *((file, macros) for file in ("norm", "pool", "shape", "math") for macros in _WORDS),
    *((file, {"HALF": half}) for file in ("gram", "variation") for half in (0, 1)),
    ("adam", {"HALF": 0}),
    *(
        _conv(types, 128, n, stride)
        for types in _PRODUCTS
        for n in ((32, 64, 128) if types["HALF"] or types["TF32"] else (32, 64))
        for stride in (1, 2)
    ),
    *(
        _conv(types, m, n, taps=taps, stages=stages)
        for types in _PRODUCTS[:2]
        for m, n, taps, stages in ((256, 128, 3, 3), (512, 32, 9, 2), (256, 32, 9, 2))
    ),
    *(_conv(types, 128, n, taps=2) for types in _PRODUCTS for n in (32, 64)),
    *(_conv(_PRODUCTS[2], 128, 32, stride) for stride in (3, 4)),
    _conv(_PRODUCTS[0], 128, 64, stages=2),
    *(
        ("wgrad", {**types, **PixelTile.of(channels, 2 if types["HALF"] else 4)._asdict(), "FLAT": flat})
        for types in _PRODUCTS
        for channels in (8, 32, 64, 128)
        for flat in (0, 1)
    ),
]

# Where this is set the same tests run on a real GPU: `NANOSTYLE_TEST_GPU=1 pytest tests/backend/gpu`.
REAL = bool(os.environ.get("NANOSTYLE_TEST_GPU"))

no_compiler = None if shutil.which("g++") else "g++ is not installed"
no_gpu = None if REAL else no_compiler  # why there is neither a GPU nor an emulated one


class Finding(Exception):
    """What the checker found: the kernel, the fault, and where it is in the source."""


class _Memory(ctypes.Structure):
    _fields_ = (("first", ctypes.c_void_p), ("bytes", ctypes.c_size_t), ("granule", ctypes.c_int))


def _gcc(*arguments: str) -> None:
    run = subprocess.run(["g++", *FLAGS, *arguments], capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(f"g++ {' '.join(arguments)}\n{run.stderr}")


def _cached(key: str, suffix: str, make: Any) -> Path:
    """The file that `make(path)` writes, kept under the hash of `key` in the folder of temporary files."""
    folder = Path(tempfile.gettempdir()) / f"nanostyle-cuda-on-cpu-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / (hashlib.sha256(key.encode()).hexdigest()[:24] + suffix)
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}-{id(path)}{suffix}")
        make(part)
        part.replace(path)
    return path


@cache
def _runtime() -> Path:
    text = (HERE / "runtime.cpp").read_text() + (HERE / "cuda_on_cpu.h").read_text()
    return _cached(text, ".o", lambda to: _gcc("-c", str(HERE / "runtime.cpp"), "-o", str(to)))


def build(source: str, defines: Sequence[tuple[str, int]]) -> Path:
    """The shared library of a kernel source."""
    kernels = "\n".join(f"EMULATED_KERNEL({name}, {threads})" for threads, name in KERNEL.findall(source))
    text = f'#include "{HERE / "cuda_on_cpu.h"}"\n{source}\n#line 1 "emulated kernels"\n{kernels}\n'
    flags = [f"-D{name}={value}" for name, value in defines]
    header = (HERE / "cuda_on_cpu.h").read_text()

    def make(to: Path) -> None:
        unit, compiled = to.with_suffix(".cpp"), to.with_suffix(".o")
        unit.write_text(text)
        _gcc(*CHECKS, *flags, "-c", str(unit), "-o", str(compiled))
        # Linked without -fsanitize: runtime.cpp answers the callbacks.
        _gcc("-shared", str(compiled), str(_runtime()), "-o", str(to))
        compiled.unlink()
        unit.unlink()

    return _cached("\0".join((text, header, str(_runtime()), *flags)), ".so", make)


def build_all(variants: Sequence[tuple[str, dict[str, int]]]) -> None:
    """Build kernel files by name and macros, on all processors; what is built already costs nothing."""
    if REAL:
        return
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda v: build(launch.source(v[0]), tuple(sorted(v[1].items()))), variants))


@cache
def _library(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.emu_launch.restype = ctypes.c_char_p
    return library


class Kernel:
    """A kernel of a source: called as CuPy's `RawKernel` is, with arrays of `device.py`."""

    def __init__(self, source: str, name: str, defines: Sequence[tuple[str, int]] = ()) -> None:
        self.name, self.path = name, build(source, defines)
        self.max_dynamic_shared_size_bytes = 48 << 10  # the least that a GPU gives without being asked for more
        self.library = _library(self.path)
        if not hasattr(self.library, f"emu_call_{name}"):
            raise AttributeError(f"no kernel {name} in {self.path}")
        self._call = getattr(self.library, f"emu_call_{name}")
        self._most_threads = getattr(self.library, f"emu_threads_{name}")()
        codes = getattr(self.library, f"emu_parameters_{name}")
        codes.restype = ctypes.POINTER(ctypes.c_char_p)
        self._codes = []
        for code in codes():
            if code is None:
                break
            self._codes.append(code.decode())

    def __call__(self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0) -> None:
        """Launch in every order from the same memory; all must leave the same bytes. In a capture nothing is done yet.

        Raises
        ------
        Finding
            Something is wrong with the launch, with the kernel, or its result depends on the order.
        """
        self._check_launch(grid, block, shared_mem)
        if recording := device.tape():
            recording.add(lambda: self(grid, block, args, shared_mem=shared_mem))
            return
        values, arrays = self._arguments(args)
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        memory = (_Memory * len(arrays))(*((a.ctypes.data, a.nbytes, a.itemsize) for a in arrays))
        dims = [(ctypes.c_uint * 3)(*d, *(1,) * (3 - len(d))) for d in (grid, block)]
        before = [(a, a.copy()) for a in arrays if a.flags.writeable]
        results = []
        for order in _orders:
            for array, content in before:
                array[...] = content
            found = self.library.emu_launch(self._call, pointers, *dims, shared_mem, order, memory, len(arrays))
            if found:
                raise Finding(f"{self.name}: {self._with_places(found.decode())}")
            results.append([a.tobytes() for a in arrays])
        if any(r != results[0] for r in results):
            raise Finding(f"{self.name}: the result depends on the order of the threads")

    def bank_conflicts(self) -> tuple[int, int]:
        """Matrices that ldmatrix has read since the last call, and the cycles that bank conflicts added."""
        out = (ctypes.c_long * 2)()
        self.library.emu_bank_conflicts(out)
        return out[0], out[1]

    def _check_launch(self, grid: Sequence[int], block: Sequence[int], shared: int) -> None:
        threads = int(np.prod(block))
        if not 1 <= threads <= self._most_threads:
            raise Finding(f"{self.name}: {threads} threads in a block, __launch_bounds__ is {self._most_threads}")
        if not 0 <= shared <= self.max_dynamic_shared_size_bytes:
            raise Finding(
                f"{self.name}: {shared} bytes of shared memory, the limit is {self.max_dynamic_shared_size_bytes}"
            )
        if min(grid) < 1 or max((*grid, 1)[1:]) > 65535:
            raise Finding(f"{self.name}: no GPU takes a grid of {grid}")

    def _arguments(self, args: Sequence[Any]) -> tuple[list[Any], list[np.ndarray[Any, Any]]]:
        """Each argument as the bytes a launch would pass, and the arrays the kernel may touch."""
        if len(args) != len(self._codes):
            raise Finding(f"{self.name}: {len(args)} arguments for {len(self._codes)} parameters")
        values: list[Any] = []
        arrays: dict[int, np.ndarray[Any, Any]] = {}
        for i, (arg, (kind, letter)) in enumerate(zip(args, self._codes, strict=True)):
            want = np.dtype(NAMES[letter])
            null = kind == "*" and type(arg) is np.uint64 and arg == 0
            if not null and (isinstance(arg, DeviceArray) != (kind == "*") or arg.dtype != want):
                raise Finding(f"{self.name}: parameter {i} is {kind}{want}, the argument is {type(arg)} {arg.dtype}")
            if kind == " ":
                values.append((ctypes.c_char * want.itemsize).from_buffer_copy(arg.tobytes()))
            elif not isinstance(arg, DeviceArray):
                values.append(ctypes.c_void_p(0))
            else:
                values.append(ctypes.c_void_p(arg.host.ctypes.data))
                arrays[arg.host.ctypes.data] = arg.host
                if letter == "Q":  # a table of pointers: the kernel may go where they point
                    for address in arg.host.ravel():
                        arrays[int(address)] = memory_at(int(address))
        return values, list(arrays.values())

    def _with_places(self, found: str) -> str:
        """Program counters in braces, as file and line: of the kernel, not of the header it calls into."""
        for address in re.findall(r"\{(0x[0-9a-f]+)\}", found):
            offset = int(address, 16) - self._base() - 1
            run = subprocess.run(["addr2line", "-i", "-e", str(self.path), hex(offset)], capture_output=True, text=True)
            places = [Path(line.split(" (")[0]).name for line in run.stdout.splitlines()]
            kernel = [p for p in places if not p.startswith("cuda_on_cpu.h")]
            found = found.replace(f"{{{address}}}", (kernel or places or ["?"])[0])
        return found

    def _base(self) -> int:
        for line in Path("/proc/self/maps").read_text().splitlines():
            if line.endswith(str(self.path)):
                return int(line.split("-")[0], 16)
        return 0


@cache
def load(file: str, kernel: str, defines: tuple[tuple[str, int], ...]) -> Kernel:
    """Stands in for `nanostyle.backend.gpu.launch.load`."""
    if (file, dict(defines)) not in VARIANTS:
        raise Finding(f"{file}.{kernel} is launched with {dict(defines)}, which VARIANTS does not list")
    return Kernel(launch.source(file), kernel, defines)


@contextlib.contextmanager
def one_order() -> Iterator[None]:
    """Within the block each launch runs in one order alone: for tests of what stands above the kernels."""
    with mock.patch(f"{__name__}._orders", (ORDERS["shuffled"],)):
        yield


@contextlib.contextmanager
def gpu() -> Iterator[Any]:
    """CuPy within the block: the real one where that is wished for, else the stand-in."""
    if REAL:
        pick_device("cuda")
        yield cupy()
    else:
        with emulated() as cp:
            yield cp


@contextlib.contextmanager
def emulated() -> Iterator[FakeGpu]:
    """Within the block there is a GPU: a stand-in for CuPy, whose kernels run here."""
    cp = FakeGpu()
    with mock.patch("nanostyle.backend.device._find_cupy", lambda: cp), mock.patch.object(launch, "load", load):
        yield cp
