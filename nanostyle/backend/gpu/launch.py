"""Find the CUDA kernels, compile them once per architecture and type, check a launch, and launch.

CuPy's compiler (NVRTC) makes machine code for the GPU at hand and keeps it on the disk; a second process finds it
there. A launch itself looks at nothing: number, types and sizes of the arguments are compared here with the parameters
as the source declares them. Nothing needs CUDA until `launch` is called.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from nanostyle.backend.device import CuPy, loaded_cupy, module_of, precision
from nanostyle.backend.gpu.constants import THREADS, WORD, macros
from nanostyle.backend.types import Array, Number
from nanostyle.errors import NanostyleError

SHARED = 48 << 10  # bytes of shared memory that a block gets without asking for more
MOST_INDEX = 2**31 - 1  # kernels index with 32-bit integers

Argument: TypeAlias = Array | Number | int | None  # of a kernel

# As C++ names them, `real` apart, which the macro HALF decides.
_TYPES: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "float2": np.dtype(np.float32),
    "int": np.dtype(np.int32),
    "unsigned long long": np.dtype(np.uint64),
}


def matmul_macros(x: Array) -> dict[str, int]:
    """The macros of a kernel that multiplies matrices of `x`'s type."""
    half = int(x.dtype == np.float16)
    return {"HALF": half, "TF32": int(precision() != "fp32" and not half)}


def word_macros(x: Array) -> dict[str, int]:
    """The macros of a kernel that reads words of several channels of `x (..., C)`."""
    per_word = WORD // x.dtype.itemsize
    return {"HALF": int(x.dtype == np.float16), "VEC": per_word if x.shape[-1] % per_word == 0 else 1}


def supported(*values: Array | None) -> bool:
    """Whether there are kernels for the arrays: float32 or float16. Other types are left to the reference."""
    return all(a is None or a.dtype in (np.float32, np.float16) for a in values)


def contiguous(x: Array, dtype: npt.DTypeLike | None = None) -> Array:
    """`x` with its values in the order of its axes, as `dtype` if given, from a multiple of 16 bytes on.

    `x` itself where it is that already; a view into another array may begin anywhere.
    """
    xp = module_of(x)
    x = xp.ascontiguousarray(x if dtype is None else x.astype(dtype, copy=False))
    memory: CuPy = x.data
    return x.copy() if memory.ptr % WORD else x


def blocks(count: int, each: int = THREADS) -> int:
    """The number of blocks of `each` that cover `count`."""
    return -(-count // each)


def launch(
    file: str, kernel: str, grid: int | tuple[int, ...], *args: Argument, shared: int = 0, **defines: int
) -> None:
    """Run `kernel` of `kernels/<file>.cu`, compiled with `defines`, over `grid` blocks of 256 threads.

    `args` stand in the order of the kernel's parameters: arrays (None: a null pointer), whole numbers and floats.

    Raises
    ------
    ValueError
        An argument is not of its parameter's type, an array is not contiguous or too large for 32-bit indices.
    NanostyleError
        The kernel sources are not there, or they do not compile.
    """
    grid = (grid,) if isinstance(grid, int) else grid
    expected = parameters(file, kernel, bool(defines.get("HALF")))
    if len(args) != len(expected):
        raise ValueError(f"{file}.{kernel}: expected {len(expected)} arguments, got {len(args)}")
    values = tuple(_value(f"{file}.{kernel}, {p.name}", p, arg) for p, arg in zip(expected, args, strict=True))
    if 0 in grid:
        return
    if grid[0] > MOST_INDEX or max((*grid[1:], 0)) > 65535:
        raise ValueError(
            f"{file}.{kernel}: expected a grid of at most (2**31 - 1, 65535, 65535), got {grid};"
            " use a smaller picture or batch"
        )
    run: CuPy = load(file, kernel, tuple(sorted(defines.items())))
    if shared > SHARED:  # all there is: launches that were recorded before this one may need more than it does
        run.max_dynamic_shared_size_bytes = most_shared()
    run(grid, (THREADS,), values, shared_mem=shared)


@cache
def most_shared() -> int:
    """The bytes of shared memory that a block can have on this GPU."""
    cp = loaded_cupy()
    return int(cp.cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"])


class Parameter(NamedTuple):
    """What a kernel declares: a name, the type of a number, and whether it is an array of them."""

    name: str
    dtype: np.dtype[Any]
    array: bool


@cache
def parameters(file: str, kernel: str, half: bool) -> tuple[Parameter, ...]:
    """The parameters of `kernel` of `kernels/<file>.cu`, in order, as its source declares them."""
    found = re.search(rf"__global__ void __launch_bounds__\([^)]*\) {kernel}\(([^)]*)\)", source(file))
    if found is None:
        raise NanostyleError(f"kernels/{file}.cu has no kernel {kernel}; reinstall nanostyle")
    real: dict[str, np.dtype[Any]] = {"real": np.dtype(np.float16 if half else np.float32)}
    declared = []
    for text in found[1].split(","):
        array, words = "*" in text, text.replace("const", "").replace("__restrict__", "").replace("*", " ").split()
        declared.append(Parameter(words[-1], (_TYPES | real)[" ".join(words[:-1])], array))
    return tuple(declared)


def _value(what: str, expected: Parameter, arg: CuPy) -> Array | np.generic:
    """An argument as the launch passes it."""
    if arg is None and expected.array:
        return np.uint64(0)
    numbers: dict[type, npt.DTypeLike] = {float: np.float32, int: np.int32}
    dtype = np.dtype(numbers.get(type(arg)) or getattr(arg, "dtype", np.dtype(object)))
    if hasattr(arg, "dtype") != expected.array or dtype != expected.dtype:
        kind = "an array of" if expected.array else "a number of type"
        raise ValueError(f"{what}: expected {kind} {expected.dtype}, got {type(arg).__name__} {dtype}")
    if not expected.array:
        if dtype == np.int32 and not -MOST_INDEX <= arg <= MOST_INDEX:
            raise ValueError(f"{what}: expected a number of 32 bits, got {arg}; use a smaller picture or batch")
        number: np.generic = dtype.type(arg)
        return number
    if not arg.flags.c_contiguous:
        raise ValueError(f"{what}: expected a contiguous array, got shape {arg.shape} with strides {arg.strides}")
    if arg.size > MOST_INDEX:
        raise ValueError(f"{what}: an array of {arg.shape} is too large for a kernel; use a smaller picture or batch")
    array: Array = arg
    return array


@cache
def load(file: str, kernel: str, defines: tuple[tuple[str, int], ...]) -> Callable[..., None]:
    """The compiled kernel: called with grid, block, arguments and `shared_mem`. The tests put an emulator here."""
    cp = loaded_cupy()
    options = ("-std=c++17", *(f"-D{name}={value}" for name, value in defines))
    module = cp.RawModule(code=source(file), options=options, backend="nvrtc")
    try:
        return module.get_function(kernel)
    except cp.cuda.compiler.CompileException as error:
        first = next((line for line in str(error).splitlines() if "error" in line), str(error))
        raise NanostyleError(f"kernels/{file}.cu does not compile for this GPU: {first}") from error


@cache
def source(file: str) -> str:
    """The text that is compiled for `kernels/<file>.cu`: numbers as macros, the folder's headers, then the file.

    They are put together here, not by options and `#include`: CuPy's cache key covers this text alone.
    """
    home = folder()
    paths = (*sorted(home.glob("*.cuh")), home / f"{file}.cu")
    numbers = "".join(f"#define {name} {number}\n" for name, number in macros().items())
    return numbers + "".join(f'#line 1 "{path.name}"\n{path.read_text(encoding="utf-8")}' for path in paths)


def folder() -> Path:
    """The folder of the kernels: inside the package where it is installed, beside it in a checkout."""
    package = Path(__file__).parents[2]
    for place in (package / "kernels", package.parent / "kernels"):
        if (place / "common.cuh").is_file():
            return place
    raise NanostyleError(f"the CUDA kernels are missing: looked in {package / 'kernels'}; reinstall nanostyle")
