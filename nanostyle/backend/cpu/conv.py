"""The primitives of `ops/conv.py`: which algorithm serves which shape."""

import numpy as np

from nanostyle.backend.cpu import few_channels, im2col, winograd
from nanostyle.backend.cpu.border import fold_border
from nanostyle.backend.cpu.epilogue import Epilogue, join_blocks
from nanostyle.backend.cpu.windows import PaddedMap
from nanostyle.backend.cpu.winograd_transforms import dx_transforms, forward_transforms
from nanostyle.backend.geometry import Geometry
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array, Statistics

# Outputs per side of a Winograd tile: 4 is fast, 2 rounds less, 0 is convolution as it is written.
TILE = 4

# Channel counts up to `_FEW` take the few-channel algorithms. So do kernels wider than 1x1 (not their gradients) whose
# inputs times outputs are at most `_FEW_WEIGHTS`.
_FEW, _FEW_WEIGHTS = 4, 1 << 10

# Kernels wider than this are left to the reference: a window would reach too far over the border (`windows._REACH`).
_WIDEST = 16


def conv2d_forward(
    x: Array, w: Array, b: Array | None, *, at: Geometry, relu: bool = False, statistics: bool = False
) -> tuple[Array, Statistics | None]:
    """See `ops.conv.conv2d_forward`."""
    if not _float32(x, w, b):
        return NotImplemented
    stride, pad, mode, upsample = at
    K, L, _, M = w.shape
    y = empty((x.shape[0], *at.output(x.shape[1], x.shape[2], K, L), M))
    finish = Epilogue(relu, statistics)
    match _way(w.shape, at, strided=32):
        case "winograd":
            transforms = forward_transforms(TILE, stride, upsample, pad)
            blocks = winograd.convolve(_padded(x, at), w, b, transforms, y, finish)
        case "few inputs":
            blocks = few_channels.few_inputs(PaddedMap(x, mode=mode), w, b, -pad, stride, y, finish)
        case "few outputs":
            blocks = few_channels.few_outputs(PaddedMap(x, mode=mode), w, b, -pad, y, finish)
        case "im2col":
            blocks = im2col.convolve(PaddedMap(x, mode=mode), w, b, -pad, stride, y, finish)
        case _:
            return NotImplemented
    return y, join_blocks(blocks, x.shape[0]) if statistics else None


def conv2d_dx(g: Array, w: Array, *, size: tuple[int, int], at: Geometry, mask: Array | None = None) -> Array:
    """See `ops.conv.conv2d_dx`."""
    if not _float32(g, w):
        return NotImplemented
    stride, pad, _, upsample = at
    K, L, C, M = w.shape
    dx = empty((g.shape[0], *size, C))
    gradient = PaddedMap(g, mask=mask)
    turned = w[::-1, ::-1].swapaxes(2, 3)
    match _way((K, L, M, C), at, strided=1):
        case "winograd":
            transforms = dx_transforms(TILE, stride, upsample, pad)
            winograd.convolve(gradient, w.swapaxes(2, 3), None, transforms, dx, Epilogue())
        case "few inputs" if stride == 1:
            few_channels.few_inputs(gradient, turned, None, pad + 1 - K, 1, dx, Epilogue())
        case "few outputs":
            few_channels.few_outputs(gradient, turned, None, pad + 1 - K, dx, Epilogue())
        case "im2col" if stride == 1:
            # Turned, the kernel starts where the last output that reads a pixel does.
            im2col.convolve(gradient, turned, None, pad + 1 - K, 1, dx, Epilogue())
        case _:
            return NotImplemented
    fold_border(dx, g, w, at, mask)
    return dx


def conv2d_dw(g: Array, x: Array, *, kernel: tuple[int, int], at: Geometry, mask: Array | None = None) -> Array:
    """See `ops.conv.conv2d_dw`."""
    if not _float32(g, x):
        return NotImplemented
    stride, pad, _, upsample = at
    K, L = kernel
    padded, gradient = _padded(x, at), PaddedMap(g, mask=mask)
    _, H, W, M = g.shape
    match _way((K, L, x.shape[3], M), at, strided=np.inf, few_weights=0):
        case "winograd":
            return winograd.kernel_gradient(padded, gradient, forward_transforms(TILE, stride, upsample, pad))
        case "few inputs":
            return few_channels.kernel_gradient(padded, gradient, -pad, stride, kernel, (0, 0, H, W))
        case "few outputs":
            # Seen from the padded input: each of its pixels meets the K x L gradients that end at it.
            area = (-pad, -pad, H + K - 1, W + L - 1)
            dw = few_channels.kernel_gradient(gradient, padded, 1 - K, 1, kernel, area)
            return dw[::-1, ::-1].swapaxes(2, 3)
        case "im2col":
            return im2col.kernel_gradient(padded, gradient, -pad, stride, kernel)
        case _:
            return NotImplemented


def conv2d_db(g: Array, *, mask: Array | None = None) -> Array:
    """See `ops.conv.conv2d_db`."""
    return im2col.channel_sums(PaddedMap(g, mask=mask))


def _padded(x: Array, at: Geometry) -> PaddedMap:
    # Mirrored at its border, an upsampled feature map repeats its last pixel: so does the one that is not upsampled.
    return PaddedMap(x, mode="edge" if at.upsample == 2 and at.mode == "reflect" else at.mode)


def _float32(*operands: Array | None) -> bool:
    return all(a is None or a.dtype == np.float32 for a in operands)


def _way(w: tuple[int, ...], at: Geometry, *, strided: float, few_weights: int = _FEW_WEIGHTS) -> str:
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
        return "few inputs"
    if M <= _FEW and stride == 1:
        return "few outputs"
    return "few inputs" if K > 1 and few_weights >= C * M else "im2col"
