"""Products of small matrices on a GPU: a primitive of `autograd/tensor.py`, by `kernels/math.cu`.

Not by cuBLAS, which CuPy does not let take part in a recording.
"""

import numpy as np

from nanostyle.backend.device import module_of
from nanostyle.backend.gpu.launch import blocks, contiguous, launch
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array


def matmul_forward(a: Array, b: Array) -> Array:
    """See `tensor.matmul_forward`."""
    if a.dtype != np.float32 or b.dtype != np.float32:
        return NotImplemented
    (rows, inner), columns = a.shape[-2:], b.shape[-1]
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c = empty((*stack, rows, columns), np.float32, like=a)
    (a, a_strides), (b, b_strides) = _laid_out(a, stack), _laid_out(b, stack)
    numbers = (rows, inner, columns, *a_strides, *b_strides, c.size)
    launch("math", "matmul", blocks(32 * c.size), a, b, c, *numbers, HALF=0, VEC=1)
    return c


def _laid_out(x: Array, stack: tuple[int, ...]) -> tuple[Array, tuple[int, int, int]]:
    """`x`, contiguous as it is or transposed, and how far apart its matrices, rows and columns lie."""
    if x.shape[:-2] != stack:
        x = x if x.ndim == 2 else module_of(x).broadcast_to(x, (*stack, *x.shape[-2:]))
    apart = x.shape[-2] * x.shape[-1] if x.ndim > 2 else 0
    turned = x.swapaxes(-1, -2)
    if turned.flags.c_contiguous and not x.flags.c_contiguous:
        return turned, (apart, 1, turned.shape[-1])
    return contiguous(x), (apart, x.shape[-1], 1)
