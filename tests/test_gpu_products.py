"""The CUDA products of matrices (convolution, its gradients, Gram matrices), on the emulated GPU."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nanostyle.gpu import launch
from nanostyle.ops import conv2d, conv_transpose2d
from nanostyle.ops.conv import Geometry, conv2d_db, conv2d_dw, conv2d_dx, conv2d_forward
from nanostyle.ops.gram import gram_dx, gram_forward
from nanostyle.tensor import Tensor
from tests.cuda_on_cpu import emulator
from tests.cuda_on_cpu.compare import check, compare, normal, on_gpu, seeds

pytestmark = pytest.mark.skipif(emulator.missing is not None, reason=str(emulator.missing))

drawn = settings(max_examples=15, deadline=None)

# Storage and product, and the error that is allowed as a share of the largest value.
PRECISIONS = {"fp16": (np.float16, False, 2e-3), "tf32": (np.float32, True, 2e-3), "fp32": (np.float32, False, 3e-6)}


@pytest.fixture(scope="module", autouse=True)
def built():
    emulator.build_all(emulator.VARIANTS)


@pytest.fixture(params=PRECISIONS)
def precision(request):
    dtype, tf32, tolerance = PRECISIONS[request.param]
    launch.allow_tf32(tf32)
    yield dtype, tolerance
    launch.allow_tf32(False)


@st.composite
def convolutions(draw):
    """Shapes (N, H, W, C), (K, L, C, M), and how the kernel walks: all modes, sizes that fit no tile."""
    K, L = draw(st.sampled_from([(3, 3), (1, 1), (9, 9), (2, 5), (4, 3)]))
    at = Geometry(
        stride=draw(st.sampled_from([1, 2])),
        pad=draw(st.integers(0, 5)),
        mode=draw(st.sampled_from(["zero", "reflect", "edge"])),
        upsample=draw(st.sampled_from([1, 1, 2])),
    )
    H, W = draw(st.integers(1, 13)), draw(st.integers(1, 13))
    assume(min(at.output(H, W, K, L)) >= 1)
    C, M = draw(st.sampled_from([1, 3, 4, 8, 16, 20, 33])), draw(st.sampled_from([1, 3, 8, 24, 33, 64, 70, 130]))
    assume(K * L * C * M < 60000)
    return (draw(st.integers(1, 3)), H, W, C), (K, L, C, M), at


def weights(rng, shape, dtype):
    """Weights in float32, as a network keeps them, which float16 can hold."""
    return (normal(rng, shape) / np.prod(shape[:3]) ** 0.5).astype(dtype).astype(np.float32)


@drawn
@given(case=convolutions(), rng=seeds, relu=st.booleans(), bias=st.booleans(), moments=st.booleans())
def convolve(precision, case, rng, relu, bias, moments):
    dtype, tolerance = precision
    shape, kernel, at = case
    x, w, b = normal(rng, shape, dtype), weights(rng, kernel, dtype), normal(rng, kernel[3]) if bias else None
    y, statistics = compare(conv2d_forward, x, w, b, at=at, relu=relu, moments=moments, tolerance=tolerance)
    assert y.dtype == dtype
    assert statistics is None or statistics[0].dtype == np.float32


def test_forward(precision):
    convolve(precision)


def test_dx(precision):
    dtype, tolerance = precision

    @drawn
    @given(convolutions(), seeds, st.booleans())
    def run(case, rng, relu):
        shape, kernel, at = case
        output = (shape[0], *at.output(*shape[1:3], *kernel[:2]), kernel[3])
        g, mask = normal(rng, output, dtype), normal(rng, output, dtype) if relu else None
        compare(conv2d_dx, g, weights(rng, kernel, dtype), size=shape[1:3], at=at, mask=mask, tolerance=tolerance)

    run()


def test_dw_and_db(precision):
    dtype, tolerance = precision

    @drawn
    @given(convolutions(), seeds, st.booleans())
    def run(case, rng, relu):
        shape, kernel, at = case
        output = (shape[0], *at.output(*shape[1:3], *kernel[:2]), kernel[3])
        g, mask = normal(rng, output, dtype), normal(rng, output, dtype) if relu else None
        dw = compare(conv2d_dw, g, normal(rng, shape, dtype), kernel=kernel[:2], at=at, mask=mask, tolerance=tolerance)
        db = compare(conv2d_db, g, mask=mask, tolerance=tolerance)
        assert dw.dtype == db.dtype == np.float32

    run()


def test_gram(precision):
    dtype, tolerance = precision

    @drawn
    @given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3, 8, 33, 64, 100, 160]), seeds)
    def run(N, H, W, C, rng):
        x = normal(rng, (N, H, W, C), dtype)
        G = compare(gram_forward, x, tolerance=tolerance)
        assert G.dtype == np.float32
        assert (G == G.swapaxes(1, 2)).all()
        g = normal(rng, G.shape)
        got = on_gpu(gram_dx_of, g, x)
        check(got, gram_dx.reference(g.astype(float), x.astype(float)), tolerance)

    run()


def gram_dx_of(g, x):
    return gram_dx(g, x)
