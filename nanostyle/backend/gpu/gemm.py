"""Convolution as a matrix product on a GPU: packed weights, walks, and the launches of conv.cu and wgrad.cu."""

from typing import NamedTuple

import numpy as np

from nanostyle.backend.geometry import Geometry
from nanostyle.backend.gpu.constants import K_BYTES, PACKED_ROWS, PAD_MODES, TILE_WIDTH, WORD
from nanostyle.backend.gpu.launch import blocks, contiguous, launch, matmul_macros
from nanostyle.backend.gpu.norm import TileStatistics
from nanostyle.backend.gpu.shape import unfold
from nanostyle.backend.gpu.tiling import Depth, PixelTile, Tile
from nanostyle.backend.memory import empty
from nanostyle.backend.types import Array, Statistics


class Walk(NamedTuple):
    """How the kernels find the pixel of a tap: see the head of kernels/conv.cu."""

    stride: int = 1
    pad_h: int = 0
    pad_w: int = 0
    mode: int = PAD_MODES["zero"]
    shift: int = 0

    @classmethod
    def forward(cls, at: Geometry) -> "Walk":
        """The walk of the convolution itself."""
        return cls(at.stride, at.pad, at.pad, PAD_MODES[at.mode], log2(at.upsample))


def log2(n: int) -> int:
    """The exponent of a power of 2."""
    return n.bit_length() - 1


def pad_channels(x: Array) -> Array:
    """`x` with channels of zeros after its own, up to a multiple of 16 bytes."""
    x = contiguous(x)
    return x if x.shape[3] * x.dtype.itemsize % WORD == 0 else unfold(x, 1, 0, PAD_MODES["zero"], x.shape[1])


def packed_rows(M: int) -> int:
    """The rows of packed weights to M channels: conv.cu takes them in an order of each 32 (`interleaved`)."""
    return blocks(M, PACKED_ROWS) * PACKED_ROWS


def pack_weights(w: Array, x: Array, *, for_dx: bool = False, spread: int = 1) -> Array:
    """Weights `(K, L, C, M)` for feature maps like `x`: `(M, K', L', C')`.

    With `for_dx` they are those of the gradient to the input: `(C, K', L', M')`, mirrored. The
    first length is `packed_rows`, the last the number of channels of `x`; beyond the weights are zeros. Each weight is
    added to `spread` taps down and across: K' and L' are `spread - 1` more.
    """
    K, L, C, M = w.shape
    taps = (K + spread - 1, L + spread - 1)
    out = empty((packed_rows(C if for_dx else M), *taps, x.shape[3]), x.dtype, like=x)
    macros = matmul_macros(x)
    numbers = (K, L, C, M, x.shape[3], int(for_dx), spread, macros["TF32"], out.size)
    w = contiguous(w, np.float32)
    launch("shape", "pack_weights", blocks(out.size), w, out, *numbers, HALF=macros["HALF"], VEC=1)
    return out


def launch_conv(
    x: Array,
    w: Array,
    b: Array | None,
    M: int,
    size: tuple[int, int],
    walk: Walk,
    *,
    step: int = 1,
    relu: bool = False,
    statistics: bool = False,
    own: bool = False,
) -> tuple[Array, Statistics | None]:
    """Launch `conv`: `y (N, *size, M)`, and with `statistics` the statistics of its channels, else None.

    The weights `(M, K, L, C)` are packed, and have `packed_rows`; with `own` they are `(N, M, K, L, C)`, each feature
    map's own. Where the pixels of x stand apart with zeros between them, `step` is their distance, else 1.
    """
    N, H, W, C = x.shape
    rows, K, L, _ = w.shape[-4:]
    phase = (blocks(size[0], step), blocks(size[1], step))
    macros = matmul_macros(x)
    slices = blocks(C * x.dtype.itemsize, K_BYTES)
    depth = Depth((K // step, blocks(K, step)), blocks(L, step), slices, phases=step > 1)
    tile = Tile.of(M, phase, N * step * step, walk.stride, depth, tensor_cores=any(macros.values()))
    sides = (tile.BM // TILE_WIDTH, TILE_WIDTH)
    tiles = blocks(phase[0], sides[0]) * blocks(phase[1], sides[1])
    y = empty((N, *size, M), x.dtype, like=x)
    alike = size[0] % step == size[1] % step == 0  # the phases
    partial = empty((N, step * step, tiles, M, 2), np.float32, like=x) if statistics and alike else None
    b = None if b is None else contiguous(b, np.float32)
    shape = (H, W, C, *size, M, K, L)
    options = (step, int(relu), rows * K * L * C if own else 0, tile.held(depth)[0])
    grid = (tiles, blocks(M, tile.BN), N * step * step)
    macros |= tile._asdict()
    launch("conv", "conv", grid, x, w, b, y, partial, *shape, *walk[1:], *options, shared=tile.shared(depth), **macros)
    if partial is not None:
        return y, TileStatistics(partial, phase, sides)
    return y, TileStatistics.of(y) if statistics else None


def launch_wgrad(x: Array, g: Array, kernel: tuple[int, int], walk: Walk, *, symmetric: bool = False) -> Array:
    """Launch `wgrad`: partial results `(N·splits, K·L·C, M)`, which are to be added up."""
    N, H, W, C = x.shape
    _, OH, OW, M = g.shape
    KLC = kernel[0] * kernel[1] * C
    flat = kernel == (1, 1) and walk == Walk()
    tile = PixelTile.of(M, x.dtype.itemsize)
    tiles = (blocks(KLC, tile.BM), blocks(M, tile.BN))
    split = tile.split(x.dtype.itemsize, tiles, N, OH * OW, symmetric=symmetric)
    splits = blocks(OH * OW, split)
    partial = empty((N * splits, KLC, M), np.float32, like=x)
    shape = (H, W, C, OH, OW, M, kernel[1], KLC)
    options = (split, splits, int(symmetric))
    grid = (*tiles, N * splits)
    macros = {**matmul_macros(x), **tile._asdict(), "FLAT": int(flat)}
    shared = tile.shared(x.dtype.itemsize)
    if not flat:  # where columns and rows begin
        rows_met = (split + OW - 2) // OW * walk.stride + kernel[0]
        shared += 4 * ((OW - 1) * walk.stride + kernel[1] + rows_met)
    launch("wgrad", "wgrad", grid, x, g, partial, *shape, *walk, *options, shared=shared, **macros)
    return partial
