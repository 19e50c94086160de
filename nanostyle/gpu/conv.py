"""Floor 0: the primitives of `ops/conv.py` on a GPU, by `kernels/conv.cu` and `kernels/wgrad.cu`.

Weights and biases are float32 or of the pictures' type, and their gradients are float32: sums over many pixels that
float16 could not hold.
"""

from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from nanostyle.arrays import Array, empty
from nanostyle.gpu.derived import derived
from nanostyle.gpu.launch import PAD_MODES, WORD, blocks, contiguous, launch, most_shared, products, supported, vectors
from nanostyle.gpu.norm import Tiles, sums
from nanostyle.gpu.shape import enlarge, enlarge_adjoint, fold, unfold

_TW = 16  # width of a tile: as in kernels/conv.cu
_PIECE, _PITCH = 64, 80  # bytes of k that are multiplied at a time, and from one pixel to the next: as in gemm.cuh
# Blocks that a product aims for: two for each multiprocessor of a large GPU.
_BLOCKS = 264
# Up to so many channels at all taps of a column together, a convolution is cheaper with these taps as channels.
_THIN = 32


class Walk(NamedTuple):
    """How the kernels find the pixel of a tap: see the head of kernels/conv.cu."""

    stride: int = 1
    pad_h: int = 0
    pad_w: int = 0
    mode: int = PAD_MODES["zero"]
    shift: int = 0

    @classmethod
    def forward(cls, at: Any) -> "Walk":
        """As `at`, a `Geometry`, says."""
        return cls(at.stride, at.pad, at.pad, PAD_MODES[at.mode], _log2(at.upsample))


def _log2(n: int) -> int:
    return n.bit_length() - 1


def conv2d_forward(x: Array, w: Array, b: Array | None, *, at: Any, relu: bool = False, moments: bool = False) -> Any:
    """See `ops.conv.conv2d_forward`."""
    if not supported(x, w) or at.upsample not in (1, 2, 4) or at.stride > 4:
        return NotImplemented
    size = at.output(*x.shape[1:3], *w.shape[:2])
    if _sparse(at):
        up = at.upsample
        mode = PAD_MODES["zero" if at.mode == "zero" else "edge"]
        walk = Walk(1, at.pad + up - 1, at.pad + up - 1, mode, _log2(up))
        return convolve(x, w, b, size, walk, step=up, spread=up, relu=relu, moments=moments)
    x, at = _within_reach(x, at)
    return convolve(x, w, b, size, Walk.forward(at), relu=relu, moments=moments)


def _sparse(at: Any) -> bool:
    """Whether an upsampling convolution is the fractionally strided one by weights that are spread.

    Nearest upsampling by 2 puts each pixel in four places, which is to put it in one, zeros in three, and add up the
    weights of the taps that meet these four: of 36 products 16 are left. Mirrored pixels must be the border's own. (The
    gradient of upsampling by 4 would be a product with stride 4, too wide for the shared memory of small GPUs.)
    """
    return at.upsample == 2 and at.stride == 1 and (at.mode != "reflect" or at.pad < at.upsample)


def _adjoint_walk(kernel: tuple[int, int], at: Any) -> tuple[Walk, int]:
    """Where the gradient of a `_sparse` one finds the taps of a pixel, from so many pixels before the first on."""
    up = at.upsample
    border = 0 if at.mode == "zero" else blocks(at.pad, up)
    return Walk(up, *(n - 1 - at.pad + up * border for n in kernel)), border


def _within_reach(x: Array, at: Any) -> tuple[Array, Any]:
    """A picture narrower than its border, padded already: the products mirror once alone."""
    if at.mode == "zero" or at.pad < at.upsample * min(x.shape[1:3]):
        return x, at
    return enlarge(x, (at.pad,) * 4, at.mode, at.upsample), type(at)(at.stride)


def conv2d_dx(g: Array, w: Array, *, size: tuple[int, int], at: Any, mask: Array | None = None) -> Any:
    """See `ops.conv.conv2d_dx`."""
    if not supported(g, w) or at.stride not in (1, 2, 4):
        return NotImplemented
    if _sparse(at):
        walk, border = _adjoint_walk(w.shape[:2], at)
        height, width = (n + 2 * border for n in size)
        dx, _ = convolve(masked(g, mask), w, None, (height, width), walk, adjoint=True, spread=at.upsample)
        return enlarge_adjoint(dx, (border,) * 4, "edge", 1) if border else dx
    # Zeros around the picture need no gradient; what was repeated there adds to the pixels it came from.
    cut = at.pad if at.mode == "zero" else 0
    border = at.pad - cut
    height, width = (at.upsample * n + 2 * border for n in size)
    walk = Walk(pad_h=w.shape[0] - 1 - cut, pad_w=w.shape[1] - 1 - cut, shift=_log2(at.stride))
    dx, _ = convolve(masked(g, mask), w, None, (height, width), walk, adjoint=True, step=at.stride)
    return enlarge_adjoint(dx, (border,) * 4, at.mode, at.upsample) if border or at.upsample > 1 else dx


def conv2d_dw(g: Array, x: Array, *, kernel: tuple[int, int], at: Any, mask: Array | None = None) -> Any:
    """See `ops.conv.conv2d_dw`."""
    if not supported(g, x) or at.upsample not in (1, 2, 4):
        return NotImplemented
    (K, L), C, M, g = kernel, x.shape[3], g.shape[3], masked(g, mask)
    if _sparse(at):
        up, (walk, border) = at.upsample, _adjoint_walk(kernel, at)
        x = enlarge(x, (border,) * 4, "edge", 1) if border else x
        spread = _weight_gradient(g, x, (K + up - 1, L + up - 1, M, C), walk)[::-1, ::-1].swapaxes(2, 3)
        parts = [spread[r : r + K, s : s + L] for r in range(up) for s in range(up)]
        return contiguous(reduce(add, parts))
    x, at = _within_reach(x, at)
    walk = Walk.forward(at)
    along = _taps_as_channels(walk, K, C, M)
    if along == "in":
        x = unfold(x, K, walk.pad_h, walk.mode, g.shape[1])
        dw = _weight_gradient(x, g, (1, L, K * C, M), walk._replace(pad_h=0))
        return contiguous(dw.reshape(L, K, C, M).swapaxes(0, 1))
    if along == "out":  # every tap meets every row of the padded picture, if it has the gradient that lies there
        g = unfold(g, K, K - 1, PAD_MODES["zero"], x.shape[1] + 2 * at.pad)
        dw = _weight_gradient(x, g, (1, L, C, K * M), walk).reshape(L, C, K, M)
        return contiguous(dw[:, :, ::-1].transpose(2, 0, 1, 3))
    return _weight_gradient(x, g, (K, L, C, M), walk)


def _weight_gradient(x: Array, g: Array, shape: tuple[int, int, int, int], walk: Walk) -> Array:
    """Of weights `(K, L, C, M)`; x and g may have channels of zeros after C and M."""
    K, L, C, M = shape
    x, g = pad_channels(x), pad_channels(g)
    partial = product_over_pixels(x, g, (K, L), walk)
    dw = empty(shape, np.float32, like=x)
    numbers = (len(partial), K * L, C, x.shape[3], M, g.shape[3])
    launch("gram", "join_splits", blocks(dw.size, 32), partial, dw, *numbers, HALF=0)
    return dw


def conv2d_db(g: Array, *, mask: Array | None = None) -> Any:
    """See `ops.conv.conv2d_db`."""
    if not supported(g, mask):
        return NotImplemented
    g, mask = contiguous(g), None if mask is None else contiguous(mask, g.dtype)
    N, H, W, M = g.shape
    tall = (1, N * H, W, M)
    return sums(g.reshape(tall), None, None if mask is None else mask.reshape(tall), None, None)[0].reshape(M)


def masked(g: Array, y: Array | None) -> Array:
    """`g` where the ReLU's output `y` is above 0, else 0; `g` itself where there is no ReLU."""
    g = contiguous(g)
    if y is None:
        return g
    out = empty(g.shape, g.dtype, like=g)
    macros = vectors(g)
    words = g.size // macros["VEC"]
    launch("shape", "mask_gradient", blocks(words), g, contiguous(y, g.dtype), out, words, **macros)
    return out


def pad_channels(x: Array) -> Array:
    """`x` with channels of zeros after its own, up to a multiple of 16 bytes."""
    x = contiguous(x)
    return x if x.shape[3] * x.dtype.itemsize % WORD == 0 else unfold(x, 1, 0, PAD_MODES["zero"], x.shape[1])


def packed_rows(M: int) -> int:
    """The rows of weights to M channels, as conv.cu takes them: its order is one of each 32 (`interleaved`)."""
    return blocks(M, 32) * 32


def pack_weights(w: Array, x: Array, *, adjoint: bool = False, spread: int = 1) -> Array:
    """Weights `(K, L, C, M)` for pictures like `x`: `(M, K', L', C')`; for the gradient `(C, K', L', M')`, mirrored.

    The first length is `packed_rows`, the last the number of channels of `x`; beyond the weights are zeros. Each weight
    is added to `spread` taps down and across: K' and L' are `spread - 1` more.
    """
    K, L, C, M = w.shape
    taps = (K + spread - 1, L + spread - 1)
    out = empty((packed_rows(C if adjoint else M), *taps, x.shape[3]), x.dtype, like=x)
    macros = products(x)
    numbers = (K, L, C, M, x.shape[3], int(adjoint), spread, macros["TF32"], out.size)
    w = contiguous(w, np.float32)
    launch("shape", "pack_weights", blocks(out.size), w, out, *numbers, HALF=macros["HALF"], VEC=1)
    return out


def _taps_as_channels(walk: Walk, K: int, C: int, M: int) -> str | None:
    """Whether the taps of a column become channels of what goes in, or of what comes out."""
    if K == 1 or walk.stride > 1 or walk.shift:
        return None
    return "in" if K * C <= _THIN else "out" if K * M <= _THIN else None


def convolve(
    x: Array,
    w: Array,
    b: Array | None,
    size: tuple[int, int],
    walk: Walk,
    *,
    adjoint: bool = False,
    step: int = 1,
    spread: int = 1,
    relu: bool = False,
    moments: bool = False,
) -> tuple[Array, Any]:
    """`y (N, *size, M)` by weights `(K, L, C, M)`, and with `moments` the statistics of its channels, else None.

    With `adjoint` by the weights of the gradient: mirrored, C and M exchanged. `spread`: see `pack_weights`; `step`:
    see `product`.
    """
    K, L, C, M = (*w.shape[:2], w.shape[3], w.shape[2]) if adjoint else w.shape
    along = _taps_as_channels(walk, K, C, M)
    x = unfold(x, K, walk.pad_h, walk.mode, size[0]) if along == "in" else pad_channels(x)

    def pack() -> Array:
        if along is None:
            return pack_weights(w, x, adjoint=adjoint, spread=spread)
        forward = w[::-1, ::-1].swapaxes(2, 3) if adjoint else w
        if along == "in":
            return pack_weights(forward.swapaxes(0, 1).reshape(1, L, K * C, M), x)
        return pack_weights(forward.transpose(1, 2, 0, 3).reshape(1, L, C, K * M), x)

    packed = derived(w, pack, along, adjoint, spread, *products(x).values())
    if along is None:
        return product(x, packed, b, M, size, walk, step=step, relu=relu, moments=moments)
    flat = walk._replace(pad_h=0)
    if along == "in":
        return product(x, packed, b, M, size, flat, relu=relu, moments=moments)
    unit = WORD // x.dtype.itemsize
    z, _ = product(x, packed, None, blocks(K * M, unit) * unit, (x.shape[1], size[1]), flat)
    y = fold(z, b, M, K, walk.pad_h, walk.mode, size[0], relu=relu)
    return y, Tiles.of(y) if moments else None


class Kernel(NamedTuple):
    """What conv.cu works through for an output pixel: taps down (phases differ: least, most), across, channels."""

    rows: tuple[int, int]
    columns: int
    chunks: int  # of 64 bytes
    phases: bool = False


class Tile(NamedTuple):
    """What a block of conv.cu makes, BM pixels of BN channels, and how many pieces it has under way, of TAPS each.

    Without tensor cores 128 channels would spill registers.
    """

    BM: int
    BN: int
    STRIDE: int
    TAPS: int
    STAGES: int

    @classmethod
    def of(
        cls, M: int, size: tuple[int, int], count: int, stride: int, kernel: Kernel, *, tensor_cores: bool
    ) -> "Tile":
        """For `count` pictures of `size` with M channels: the largest of which there are enough for all of the GPU."""
        # One row of many taps, as thin layers have, is few pieces: large ones, or a block waits more than it works.
        thin = kernel.rows == (1, 1) and kernel.columns > 3 and M <= 32 and not kernel.phases
        for BM, BN in ((512, 32), (256, 32), (128, 32)) if thin else ((256, 128), (128, 128), (128, 64), (128, 32)):
            number = blocks(size[0], BM // _TW) * blocks(size[1], _TW) * blocks(M, BN) * count
            enough = tensor_cores and number >= (_BLOCKS // 2 - 4 if BM * BN > 1 << 14 else _BLOCKS * 3 // 4)
            large = BM > 128 or BN == 128
            if M <= BN // 2 >= 32 or (large and not enough) or (BM > 128 and stride > 1):
                continue
            # Of the large thin ones two are to share a multiprocessor. Two taps are what upsampling leaves of three.
            few = 2 if kernel.columns == 2 and stride == 1 and BN < 128 else 3
            taps, stages, share = (9, (2,), 2) if thin and large else (few, (3, 2), 1)
            for stage in stages:
                tile = cls(BM, BN, stride, taps, stage)
                if tile.shared(kernel) * share <= most_shared():
                    return tile
        raise ValueError(f"a convolution by {kernel} does not fit into {most_shared()} bytes of shared memory")

    def held(self, kernel: Kernel) -> tuple[int, int]:
        """How many windows, and how many pieces of weights, hold the pieces under way."""
        apart = blocks(kernel.columns, self.TAPS) * kernel.chunks  # windows, if each serves all rows
        pieces = apart * kernel.rows[1]
        if self.STRIDE > 1:
            apart = pieces
        kept = self.STRIDE == 1 and kernel.rows[0] >= 2
        return min(2 if kept else self.STAGES, apart), min(self.STAGES, pieces)

    def shared(self, kernel: Kernel) -> int:
        """Bytes of shared memory: of windows, of the weights of each piece, and of where rows begin."""
        height, rows = self.BM // _TW, kernel.rows[1]
        row = self.STRIDE * (_TW + (self.TAPS - 1) // self.STRIDE) * _PITCH
        windows, pieces = self.held(kernel)
        window = (height + (rows - 1 if self.STRIDE == 1 else 0)) * row
        return windows * window + pieces * self.TAPS * self.BN * _PIECE + ((height - 1) * self.STRIDE + rows) * 4


def product(
    x: Array,
    w: Array,
    b: Array | None,
    M: int,
    size: tuple[int, int],
    walk: Walk,
    *,
    step: int = 1,
    relu: bool = False,
    moments: bool = False,
    own: bool = False,
) -> tuple[Array, Any]:
    """Launch `conv`: `y (N, *size, M)`, and with `moments` the statistics of its channels, else None.

    The weights `(M, K, L, C)` are packed, and have `packed_rows`; with `own` they are `(N, M, K, L, C)`, each picture's
    own. Where the pixels of x stand apart with zeros between them, `step` is their distance, else 1.
    """
    N, H, W, C = x.shape
    rows, K, L, _ = w.shape[-4:]
    phase = (blocks(size[0], step), blocks(size[1], step))
    macros = products(x)
    chunks = blocks(C * x.dtype.itemsize, _PIECE)
    kernel = Kernel((K // step, blocks(K, step)), blocks(L, step), chunks, phases=step > 1)
    tile = Tile.of(M, phase, N * step * step, walk.stride, kernel, tensor_cores=any(macros.values()))
    sides = (tile.BM // _TW, _TW)
    tiles = blocks(phase[0], sides[0]) * blocks(phase[1], sides[1])
    y = empty((N, *size, M), x.dtype, like=x)
    alike = size[0] % step == size[1] % step == 0  # the phases
    partial = empty((N, step * step, tiles, M, 2), np.float32, like=x) if moments and alike else None
    b = None if b is None else contiguous(b, np.float32)
    shape = (H, W, C, *size, M, K, L)
    options = (step, int(relu), rows * K * L * C if own else 0, tile.held(kernel)[0])
    grid = (tiles, blocks(M, tile.BN), N * step * step)
    macros |= tile._asdict()
    launch("conv", "conv", grid, x, w, b, y, partial, *shape, *walk[1:], *options, shared=tile.shared(kernel), **macros)
    if partial is not None:
        return y, Tiles(partial, phase, sides)
    return y, Tiles.of(y) if moments else None


def product_over_pixels(x: Array, g: Array, kernel: tuple[int, int], walk: Walk, *, symmetric: bool = False) -> Array:
    """Launch `wgrad`: partial results `(N·splits, K·L·C, M)`, which are to be added up."""
    N, H, W, C = x.shape
    _, OH, OW, M = g.shape
    KLC = kernel[0] * kernel[1] * C
    BM, BN = (64, 64) if 32 < M <= 64 else (128, next(n for n in (8, 32, 128) if n >= min(M, 128)))
    tiles = (blocks(KLC, BM), blocks(M, BN))
    piece = _PIECE // x.dtype.itemsize  # pixels that are multiplied at a time
    # As many parts as the GPU takes at once: one more, and it begins anew for it.
    working = N * (tiles[0] * (tiles[0] + 1) // 2 if symmetric and BM == BN else tiles[0] * tiles[1])
    parts = max(1, min(_BLOCKS // working, OH * OW // (8 * piece)))
    split = piece * blocks(OH * OW, parts * piece)
    splits = blocks(OH * OW, split)
    partial = empty((N * splits, KLC, M), np.float32, like=x)
    shape = (H, W, C, OH, OW, M, kernel[1], KLC)
    options = (split, splits, int(symmetric))
    flat = kernel == (1, 1) and walk == Walk()
    macros = {**products(x), "BM": BM, "BN": BN, "FLAT": int(flat)}
    grid = (*tiles, N * splits)
    # As in kernels/wgrad.cu: so many pieces, and where columns and rows begin.
    rows = [n * x.dtype.itemsize for n in (BM, BN)]
    pitches = [n if n < 64 else n + (16 if x.dtype == np.float16 else 32) for n in rows]
    shared = (3 if BM + BN > 128 else 6) * piece * sum(pitches)
    if not flat:
        rows_met = (split + OW - 2) // OW * walk.stride + kernel[0]
        shared += 4 * ((OW - 1) * walk.stride + kernel[1] + rows_met)
    launch("wgrad", "wgrad", grid, x, g, partial, *shape, *walk, *options, shared=shared, **macros)
    return partial
