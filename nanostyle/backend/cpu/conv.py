"""Twins of the primitives in `ops/conv.py`: which algorithm serves which shape."""

import numpy as np

from nanostyle.backend.cpu import few_channels, im2col, winograd
from nanostyle.backend.cpu.border import fold_border
from nanostyle.backend.cpu.epilogue import Epilogue
from nanostyle.backend.cpu.epilogue import moments as moments_from
from nanostyle.backend.cpu.windows import Picture
from nanostyle.backend.cpu.winograd_transforms import adjoint, forward
from nanostyle.backend.geometry import Geometry, PadMode
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array

# Outputs per side of a Winograd tile: 4 is fast, 2 rounds less, 0 is convolution as it is written.
TILE = 4

# Up to so many channels are "few"; and so are they for a kernel that is not 1x1, but for its gradient, if inputs times
# outputs are at most the second number.
_FEW, _THIN = 4, 1 << 10

# Kernels wider than this are left to the reference: a window would reach too far over the border (`picture`).
_WIDEST = 16


def conv2d_forward(
    x: Array, w: Array, b: Array | None, *, at: Geometry, relu: bool = False, moments: bool = False
) -> tuple[Array, tuple[Array, Array] | None]:
    """See `ops.conv.conv2d_forward`."""
    if not _float32(x, w, b):
        return NotImplemented
    stride, pad, mode, upsample = at
    K, L, _, M = w.shape
    y = empty((x.shape[0], *at.output(x.shape[1], x.shape[2], K, L), M))
    finish = Epilogue(relu, moments)
    match _way(w.shape, at, strided=32):
        case "winograd":
            form = forward(TILE, stride, upsample, pad)
            pieces = winograd.convolve(_picture(x, mode, upsample), w, b, form, y, finish)
        case "from few":
            pieces = few_channels.from_few(Picture(x, mode=mode), w, b, -pad, stride, y, finish)
        case "to few":
            pieces = few_channels.to_few(Picture(x, mode=mode), w, b, -pad, y, finish)
        case "direct":
            pieces = im2col.convolve(Picture(x, mode=mode), w, b, -pad, stride, y, finish)
        case _:
            return NotImplemented
    return y, moments_from(pieces, x.shape[0]) if moments else None


def conv2d_dx(g: Array, w: Array, *, size: tuple[int, int], at: Geometry, mask: Array | None = None) -> Array:
    """See `ops.conv.conv2d_dx`."""
    if not _float32(g, w):
        return NotImplemented
    stride, pad, _, upsample = at
    K, L, C, M = w.shape
    dx = empty((g.shape[0], *size, C))
    picture = Picture(g, mask=mask)
    turned = w[::-1, ::-1].swapaxes(2, 3)
    match _way((K, L, M, C), at, strided=1):
        case "winograd":
            form = adjoint(TILE, stride, upsample, pad)
            winograd.convolve(picture, w.swapaxes(2, 3), None, form, dx, Epilogue())
        case "from few" if stride == 1:
            few_channels.from_few(picture, turned, None, pad + 1 - K, 1, dx, Epilogue())
        case "to few":
            few_channels.to_few(picture, turned, None, pad + 1 - K, dx, Epilogue())
        case "direct" if stride == 1:
            # Turned, the kernel starts where the last output that reads a pixel does.
            im2col.convolve(picture, turned, None, pad + 1 - K, 1, dx, Epilogue())
        case _:
            return NotImplemented
    fold_border(dx, g, w, at, mask)
    return dx


def conv2d_dw(g: Array, x: Array, *, kernel: tuple[int, int], at: Geometry, mask: Array | None = None) -> Array:
    """See `ops.conv.conv2d_dw`."""
    if not _float32(g, x):
        return NotImplemented
    stride, pad, mode, upsample = at
    K, L = kernel
    picture, gradient = _picture(x, mode, upsample), Picture(g, mask=mask)
    _, H, W, M = g.shape
    match _way((K, L, x.shape[3], M), at, strided=np.inf, thin=0):
        case "winograd":
            return winograd.kernel_gradient(picture, gradient, forward(TILE, stride, upsample, pad))
        case "from few":
            return few_channels.kernel_gradient(picture, gradient, -pad, stride, kernel, (0, 0, H, W))
        case "to few":
            # Seen from the padded picture: each of its pixels meets the K x L gradients that end at it.
            area = (-pad, -pad, H + K - 1, W + L - 1)
            dw = few_channels.kernel_gradient(gradient, picture, 1 - K, 1, kernel, area)
            return dw[::-1, ::-1].swapaxes(2, 3)
        case "direct":
            return im2col.kernel_gradient(picture, gradient, -pad, stride, kernel)
        case _:
            return NotImplemented


def conv2d_db(g: Array, *, mask: Array | None = None) -> Array:
    """See `ops.conv.conv2d_db`."""
    return im2col.channel_sums(Picture(g, mask=mask))


def _picture(x: Array, mode: PadMode, upsample: int) -> Picture:
    # Mirrored at its border, an upsampled picture repeats its last pixel: so does the picture itself.
    return Picture(x, mode="edge" if upsample == 2 and mode == "reflect" else mode)


def _float32(*operands: Array | None) -> bool:
    return all(a is None or a.dtype == np.float32 for a in operands)


def _way(w: tuple[int, ...], at: Geometry, *, strided: float, thin: int = _THIN) -> str:
    """The algorithm for weights of shape `w` (K, L, inputs, outputs): measured to be the fastest of ours.

    `strided` is the number of channels from which on Winograd's algorithm pays with stride 2.
    """
    stride, pad, _, upsample = at
    K, L, C, M = w
    least = {(1, 1): _FEW + 1, (2, 1): strided, (1, 2): 1 if pad == 1 else np.inf}.get((stride, upsample), np.inf)
    if TILE and (K, L) == (3, 3) and pad < K and min(C, M) >= least:
        return "winograd"
    if K != L or pad >= K or upsample > 1 or K > _WIDEST:
        return "reference"
    if C <= _FEW:
        return "from few"
    if M <= _FEW and stride == 1:
        return "to few"
    return "from few" if K > 1 and thin >= C * M else "direct"
