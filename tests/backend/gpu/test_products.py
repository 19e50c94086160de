"""The CUDA products of matrices (convolution, its gradients, Gram matrices), on the emulated GPU."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nanostyle.autograd.ops import conv2d, conv_transpose2d
from nanostyle.autograd.ops.conv import conv2d_db, conv2d_dw, conv2d_dx, conv2d_forward
from nanostyle.autograd.ops.gram import gram_dx, gram_forward
from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.device import CPU, Device
from nanostyle.backend.geometry import Geometry
from nanostyle.backend.gpu import tiling
from tests.cuda_on_cpu import emulator
from tests.cuda_on_cpu.compare import check, check_products, compare, compare_products, down, normal, on_gpu, seeds

pytestmark = pytest.mark.skipif(bool(emulator.no_gpu), reason=str(emulator.no_gpu))

drawn = settings(max_examples=15)

# Blocks that count as enough for a GPU: with 1, small pictures too are worked on in large blocks.
enough = st.sampled_from([1, 8, 264])

# Storage, and the error that is allowed as a share of the root of the squared products. TF32 rounds both factors to 11
# bits, so a product is off by up to 2^-10 of itself: 2e-3 is more than there can be in four products, and in many it is
# seven standard deviations. float16 rounds on the way: the sum of weights where an upsampling convolution joins taps,
# the parts of a gradient that meet at the border.
PRECISIONS = {"fp16": (np.float16, 2e-3), "tf32": (np.float32, 2e-3), "fp32": (np.float32, 1e-5)}


@pytest.fixture(scope="module", autouse=True)
def built():
    emulator.build_all(emulator.VARIANTS)


@pytest.fixture(params=PRECISIONS, name="precision")
def each_precision(request):
    Device("cuda", request.param).use()
    yield PRECISIONS[request.param]
    CPU.use()


@st.composite
def convolutions(draw):
    """Shapes (N, H, W, C), (K, L, C, M), and how the kernel walks: all modes, sizes that fit no tile."""
    K, L = draw(st.sampled_from([(3, 3), (1, 1), (9, 9), (2, 5), (4, 3)]))
    at = Geometry(
        stride=draw(st.sampled_from([1, 2])),
        pad=draw(st.integers(0, 5)),
        mode=draw(st.sampled_from(["zero", "reflect", "edge"])),
        upsample=draw(st.sampled_from([1, 2])),
    )
    H, W = draw(st.integers(1, 13)), draw(st.integers(1, 13))
    assume(min(at.output(H, W, K, L)) >= 1)
    C, M = draw(st.sampled_from([1, 3, 4, 8, 16, 20, 33])), draw(st.sampled_from([1, 3, 8, 24, 33, 64, 70, 130]))
    assume(K * L * C * M < 60000)
    return (draw(st.integers(1, 3)), H, W, C), (K, L, C, M), at


def weights(rng, shape, dtype):
    """Weights in float32, as a network keeps them, which float16 can hold."""
    return (normal(rng, shape) / np.prod(shape[:3]) ** 0.5).astype(dtype).astype(np.float32)


def test_forward(precision):
    dtype, share = precision

    @drawn
    @given(convolutions(), seeds, st.booleans(), st.booleans(), st.booleans(), enough)
    def run(case, rng, relu, bias, statistics, enough):
        shape, kernel, at = case
        x, w, b = normal(rng, shape, dtype), weights(rng, kernel, dtype), normal(rng, kernel[3]) if bias else None
        with mock.patch.object(tiling, "_BLOCKS", enough):
            y, found = compare_products(conv2d_forward, x, w, b, at=at, relu=relu, statistics=statistics, share=share)
        assert y.dtype == dtype
        assert found is None or found[0].dtype == np.float32

    run()


# The layers of the transformer network (Johnson 2016) on a small picture: C, M, K, stride, upsample.
LAYERS = {
    "first": (3, 32, 9, 1, 1),
    "down": (32, 64, 3, 2, 1),
    "residual": (128, 128, 3, 1, 1),
    "up": (64, 32, 3, 1, 2),
    "last": (32, 3, 9, 1, 1),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_of_the_transformer(precision, layer):
    dtype, share = precision
    C, M, K, stride, upsample = LAYERS[layer]
    at = Geometry(stride, K // 2, "reflect", upsample)
    rng = np.random.default_rng(0)
    x, w = normal(rng, (1, 9, 10, C), dtype), weights(rng, (K, K, C, M), dtype)
    y, _ = compare_products(conv2d_forward, x, w, normal(rng, M), at=at, relu=True, statistics=True, share=share)
    g = normal(rng, y.shape, dtype)
    compare_products(conv2d_dx, g, w, size=x.shape[1:3], at=at, share=share)
    compare_products(conv2d_dw, g, x, kernel=(K, K), at=at, share=share)


@pytest.mark.parametrize("pad", [0, 1, 3, 4])
@pytest.mark.parametrize("mode", ["zero", "reflect", "edge"])
def test_upsampling_by_more_than_two(mode, pad):
    """Mirrored pixels are those of the border up to a padding of 3, not of 4."""
    rng = np.random.default_rng(0)
    at = Geometry(1, pad, mode, 4)
    x, w = normal(rng, (2, 3, 2, 5)), weights(rng, (3, 5, 5, 7), np.float32)
    y, _ = compare(conv2d_forward, x, w, None, at=at, statistics=True, tolerance=1e-5)
    g = normal(rng, y.shape)
    compare(conv2d_dx, g, w, size=x.shape[1:3], at=at, tolerance=1e-5)
    compare(conv2d_dw, g, x, kernel=w.shape[:2], at=at, tolerance=1e-5)


@pytest.mark.parametrize("options", [{"stride": 2}, {"upsample": 2, "pad": 3, "mode": "zero"}])
def test_rows_of_many_taps_with_phases(options, monkeypatch):
    """One row of the kernel, as few-channel layers have, and still pixels that stand apart."""
    monkeypatch.setattr(tiling, "_BLOCKS", 1)
    rng = np.random.default_rng(0)
    at = Geometry(**options)
    K = 1 if at.upsample > 1 else 2
    x, w = normal(rng, (1, 40, 48, 20)), weights(rng, (K, 7, 20, 24), np.float32)
    y, _ = compare(conv2d_forward, x, w, None, at=at)
    g = normal(rng, y.shape)
    compare(conv2d_dx, g, w, size=x.shape[1:3], at=at)
    compare(conv2d_dw, g, x, kernel=w.shape[:2], at=at, tolerance=1e-5)


def test_strides_that_no_kernel_has_are_left_to_the_reference():
    rng = np.random.default_rng(0)
    x, w = normal(rng, (1, 12, 12, 4)), weights(rng, (3, 3, 4, 8), np.float32)
    with emulator.gpu() as cp:
        got = down(conv2d_forward(cp.asarray(x), cp.asarray(w), None, at=Geometry(5)))[0]
    check(got, conv2d_forward.reference(x, w, None, at=Geometry(5))[0], 1e-6)


def test_a_view_that_begins_between_words(precision):
    """Kernels read words of 16 bytes."""
    dtype, share = precision
    rng = np.random.default_rng(0)
    x, w = normal(rng, (1, 5, 6, 8), dtype), weights(rng, (3, 3, 8, 8), dtype)
    flat = np.concatenate([np.zeros(1, dtype), x[:, 1:].ravel()])
    with emulator.gpu() as cp:
        view = cp.asarray(flat)[1:].reshape(1, 4, 6, 8)
        got = down(conv2d_forward(view, cp.asarray(w), None, at=Geometry(pad=1)))
    check_products(got, conv2d_forward, x[:, 1:], w, None, at=Geometry(pad=1), share=share)


@pytest.mark.skipif(emulator.REAL, reason="a real GPU has what it has")
def test_less_shared_memory(monkeypatch):
    """Turing gives a block 64 KiB: smaller blocks, and fewer slices at a time."""
    monkeypatch.setattr(tiling, "most_shared", lambda: 64 << 10)
    monkeypatch.setattr(tiling, "_BLOCKS", 1)
    rng = np.random.default_rng(0)
    x, w = normal(rng, (1, 9, 40, 72), np.float16), weights(rng, (3, 3, 72, 130), np.float16)
    kernel = tiling.Depth((3, 3), 3, 3)
    assert tiling.Tile.of(130, (9, 40), 1, 1, kernel, tensor_cores=True) == tiling.Tile(128, 64, 1, 3, 2)
    compare(conv2d_forward, x, w, None, at=Geometry(pad=1), tolerance=2e-3)


def test_statistics_of_a_result_far_from_zero():
    """They are gathered around the mean of each tile: E[y²] - E[y]² would have nothing left in float32."""
    rng = np.random.default_rng(0)
    x, w, b = normal(rng, (1, 20, 20, 8)), weights(rng, (3, 3, 8, 8), np.float32), np.full(8, 3000, np.float32)
    _, (_, variance) = on_gpu(conv2d_forward, x, w, b, at=Geometry(), statistics=True)
    _, (_, want) = conv2d_forward.reference(*(v.astype(float) for v in (x, w, b)), at=Geometry(), statistics=True)
    np.testing.assert_allclose(variance, want, rtol=1e-3)


@pytest.mark.parametrize("options", [{"stride": 2, "pad": 1, "output_pad": 1}, {"stride": 1, "pad": 2}])
def test_ops_with_their_gradients(options):
    """The ops themselves run on the GPU: float32 results and gradients are those of the CPU in float64."""
    rng = np.random.default_rng(0)
    x, w, b = normal(rng, (2, 5, 6, 8)), normal(rng, (3, 3, 8, 12)), normal(rng, 12)

    def run(op, xp, dtype, options):
        leaves = [Tensor(xp.asarray(v.astype(dtype)), requires_grad=True) for v in (x, w, b)]
        y = op(*leaves, **options)
        seed = np.cos(np.arange(y.data.size)).reshape(y.shape).astype(dtype)
        y.backward(xp.asarray(seed))
        return (y.data, *(leaf.grad for leaf in leaves))

    without = {k: v for k, v in options.items() if k != "output_pad"}
    for op, o in ((conv_transpose2d, options), (conv2d, {**without, "mode": "reflect", "relu": True})):
        with emulator.gpu() as cp:
            got = down(run(op, cp, np.float32, o))
        check(got, run(op, np, np.float64, o), 1e-5)


@pytest.mark.skipif(emulator.REAL, reason="only the emulator counts them")
def test_tensor_cores_read_shared_memory_without_bank_conflicts(monkeypatch):
    monkeypatch.setattr(tiling, "_BLOCKS", 1)  # so that few blocks are reason enough for large ones
    rng = np.random.default_rng(0)
    x, g = normal(rng, (1, 12, 12, 40), np.float16), normal(rng, (1, 12, 12, 130), np.float16)
    half = {"HALF": 1, "TF32": 0}
    tile = {**half, **tiling.Tile(256, 128, 1, 3, 3)._asdict()}
    forward = emulator.load("conv", "conv", tuple(sorted(tile.items())))
    pixel_tile = {**half, **tiling.PixelTile.of(130, 2)._asdict(), "FLAT": 0}
    wgrad = emulator.load("wgrad", "wgrad", tuple(sorted(pixel_tile.items())))
    for kernel, run in (
        (forward, lambda: on_gpu(conv2d_forward, x, normal(rng, (3, 3, 40, 130)), None, at=Geometry(pad=1))),
        (wgrad, lambda: on_gpu(conv2d_dw, g, x, kernel=(3, 3), at=Geometry(pad=1))),
    ):
        kernel.bank_conflicts()
        run()
        matrices, extra = kernel.bank_conflicts()
        assert matrices > 1000
        assert extra == 0


def test_dx(precision):
    dtype, share = precision

    @drawn
    @given(convolutions(), seeds, st.booleans(), enough)
    def run(case, rng, relu, enough):
        shape, kernel, at = case
        output = (shape[0], *at.output(*shape[1:3], *kernel[:2]), kernel[3])
        g, mask = normal(rng, output, dtype), normal(rng, output, dtype) if relu else None
        with mock.patch.object(tiling, "_BLOCKS", enough):
            w = weights(rng, kernel, dtype)
            compare_products(conv2d_dx, g, w, size=shape[1:3], at=at, mask=mask, share=share)

    run()


def test_dw_and_db(precision):
    dtype, share = precision

    @drawn
    @given(convolutions(), seeds, st.booleans())
    def run(case, rng, relu):
        shape, kernel, at = case
        output = (shape[0], *at.output(*shape[1:3], *kernel[:2]), kernel[3])
        g, mask = normal(rng, output, dtype), normal(rng, output, dtype) if relu else None
        x = normal(rng, shape, dtype)
        dw = compare_products(conv2d_dw, g, x, kernel=kernel[:2], at=at, mask=mask, share=share)
        db = compare(conv2d_db, g, mask=mask, tolerance=1e-5)
        assert dw.dtype == db.dtype == np.float32

    run()


def test_gram(precision):
    dtype, tolerance = precision

    @drawn
    @given(
        st.integers(1, 3), st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3, 8, 33, 64, 100, 160]), seeds
    )
    def run(N, H, W, C, rng):
        x = normal(rng, (N, H, W, C), dtype)
        G = compare(gram_forward, x, tolerance=tolerance)
        assert G.dtype == np.float32
        assert (G.swapaxes(1, 2) == G).all()
        g = normal(rng, G.shape)
        got = on_gpu(gram_dx, g, x)
        check(got, gram_dx.reference(g.astype(float), x.astype(float)), tolerance)

    run()
