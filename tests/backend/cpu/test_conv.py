"""The CPU's fast convolutions against the plain references they stand in for."""

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanostyle.autograd.ops.conv import conv2d, conv2d_db, conv2d_dw, conv2d_dx, conv2d_forward, conv_transpose2d
from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.cpu import blocking, conv, winograd
from nanostyle.backend.cpu.winograd_transforms import dx_transforms, forward_transforms, minimal_filter
from nanostyle.backend.dispatch import reference_only
from nanostyle.backend.geometry import Geometry
from nanostyle.backend.threads import set_threads, thread_count

quick = settings(derandomize=True, max_examples=60)


@pytest.fixture(params=[4, 2])
def tile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(conv, "TILE", request.param)
    return request.param


@pytest.fixture
def thread_counts() -> Iterator[None]:
    before = thread_count()
    yield
    set_threads(before)


def normal(rng, *shape):
    return rng.standard_normal(shape, dtype=np.float32)


def distance(a, b):
    """Relative error of `a` against `b`, over all values."""
    return np.linalg.norm(np.asarray(a, float) - b) / max(np.linalg.norm(b), 1e-12)


def wide(*xs):
    return [None if x is None else x.astype(np.float64) for x in xs]


@st.composite
def layers(draw):
    """A convolution that the implementations cover: geometry, shapes, options."""
    upsample = draw(st.sampled_from([1, 1, 1, 2]))
    K = 3 if upsample == 2 else draw(st.sampled_from([3, 3, 1, 5, 9]))
    stride = 1 if upsample == 2 else draw(st.sampled_from([1, 1, 2]))
    pad = 1 if upsample == 2 else draw(st.integers(0, min(K - 1, 4)))
    mode = draw(st.sampled_from(["zero", "reflect", "edge"]))
    at = Geometry(stride, pad, mode, upsample)
    smallest = max(1, K - 2 * pad)
    H, W = draw(st.integers(smallest, smallest + 20)), draw(st.integers(smallest, smallest + 20))
    C, M = draw(st.sampled_from([1, 2, 3, 5, 8, 17])), draw(st.sampled_from([1, 3, 4, 6, 16, 33, 70]))
    return at, (draw(st.integers(1, 3)), H, W, C), (K, K, C, M)


@given(layer=layers(), bias=st.booleans(), relu=st.booleans(), statistics=st.booleans(), seed=st.integers(0, 99))
@quick
def test_forward_is_the_reference(layer, bias, relu, statistics, seed):
    at, x_shape, w_shape = layer
    rng = np.random.default_rng(seed)
    x, w = normal(rng, *x_shape), normal(rng, *w_shape)
    b = normal(rng, w_shape[3]) if bias else None
    y, found = conv2d_forward(x, w, b, at=at, relu=relu, statistics=statistics)
    expected, expected_found = conv2d_forward.reference(*wide(x, w, b), at=at, relu=relu, statistics=statistics)
    assert y.dtype == np.float32 and y.flags.c_contiguous
    assert distance(y, expected) < 2e-6
    assert (found is None) == (not statistics)
    if statistics:
        scale = np.abs(expected).max() + 1e-6
        for value, wanted in zip(found, expected_found, strict=True):
            assert value.dtype == np.float32 and value.shape == wanted.shape
        np.testing.assert_allclose(found[0], expected_found[0], atol=3e-6 * scale)
        np.testing.assert_allclose(found[1], expected_found[1], rtol=1e-4, atol=1e-5 * scale**2)


@given(layer=layers(), relu=st.booleans(), seed=st.integers(0, 99))
@quick
def test_gradients_are_the_reference(layer, relu, seed):
    at, x_shape, w_shape = layer
    rng = np.random.default_rng(seed)
    x, w = normal(rng, *x_shape), normal(rng, *w_shape)
    g = normal(rng, x_shape[0], *at.output(*x_shape[1:3], *w_shape[:2]), w_shape[3])
    y = np.maximum(normal(rng, *g.shape), 0) if relu else None
    dx = conv2d_dx(g, w, size=x_shape[1:3], at=at, mask=y)
    dw = conv2d_dw(g, x, kernel=w_shape[:2], at=at, mask=y)
    db = conv2d_db(g, mask=y)
    assert (dx.shape, dw.shape, db.shape) == (x.shape, w.shape, w.shape[3:])
    assert dx.dtype == dw.dtype == db.dtype == np.float32
    G, X, Wt = wide(g, x, w)
    assert distance(dx, conv2d_dx.reference(G, Wt, size=x_shape[1:3], at=at, mask=y)) < 2e-6
    assert distance(dw, conv2d_dw.reference(G, X, kernel=w_shape[:2], at=at, mask=y)) < 2e-6
    assert distance(db, conv2d_db.reference(G, mask=y)) < 2e-6


# (stride, upsample), inputs, outputs, pad, kernel: each family of algorithms at a size that matters.
FAMILIES = {
    "3x3": (Geometry(1, 1, "reflect"), 32, 48, 3),
    "stride 2": (Geometry(2, 1, "reflect"), 32, 48, 3),
    "wide, stride 2": (Geometry(2, 1, "reflect"), 64, 72, 3),
    "few weights, stride 2": (Geometry(2, 1, "reflect"), 16, 24, 3),
    "5x5": (Geometry(1, 2, "reflect"), 36, 40, 5),
    "upsampled": (Geometry(1, 1, "reflect", 2), 48, 32, 3),
    "from colors": (Geometry(1, 4, "reflect"), 3, 32, 9),
    "from colors, in pairs": (Geometry(1, 4, "reflect"), 3, 16, 9),
    "to colors": (Geometry(1, 4, "reflect"), 32, 3, 9),
    "1x1": (Geometry(), 32, 48, 1),
}


def family(name, seed=0, N=2, side=40):
    at, C, M, K = FAMILIES[name]
    rng = np.random.default_rng(seed)
    x, w, b = normal(rng, N, side, side, C), normal(rng, K, K, C, M), normal(rng, M)
    g = normal(rng, N, *at.output(side, side, K, K), M)
    y = np.maximum(normal(rng, *g.shape), 0)
    return at, x, w, b, g, y


def everything(at, x, w, b, g, y):
    """All that the primitives compute for one layer."""
    out, found = conv2d_forward(x, w, b, at=at, relu=True, statistics=True)
    dx = conv2d_dx(g, w, size=x.shape[1:3], at=at, mask=y)
    dw = conv2d_dw(g, x, kernel=w.shape[:2], at=at, mask=y)
    return out, *found, dx, dw, conv2d_db(g, mask=y)


@pytest.mark.parametrize("name", FAMILIES)
def test_error_is_within_three_times_that_of_direct_convolution(name):
    at, *operands = family(name)
    exact = everything(at, *wide(*operands))
    with reference_only():
        direct = everything(at, *operands)
    fast = everything(at, *operands)
    # y, dx, dw. The reference adds up dx tap by tap, more exactly than a convolution does: dx is held against y.
    for quantity, yardstick in ((0, 0), (3, 0), (4, 4)):
        limit = 3 * distance(direct[yardstick], exact[yardstick])
        assert distance(fast[quantity], exact[quantity]) < limit


def test_the_error_does_not_grow_with_the_channels():
    rng = np.random.default_rng(0)
    x, w = normal(rng, 1, 12, 12, 512), normal(rng, 3, 3, 512, 64)
    exact = conv2d_forward.reference(*wide(x, w, None), at=Geometry(1, 1))[0]
    assert distance(conv2d_forward(x, w, None, at=Geometry(1, 1))[0], exact) < 1.2e-6


@pytest.mark.parametrize("name", ["3x3", "stride 2", "upsampled"])
def test_the_smaller_tile_is_as_exact_as_direct_convolution(name, monkeypatch):
    monkeypatch.setattr(conv, "TILE", 2)
    at, *operands = family(name)
    exact = everything(at, *wide(*operands))
    fast = everything(at, *operands)
    for quantity in (0, 3, 4):
        assert distance(fast[quantity], exact[quantity]) < 4e-7


@pytest.mark.parametrize("name", FAMILIES)
def test_same_bits_for_any_number_of_threads(name, thread_counts):
    at, *operands = family(name, N=1, side=70)
    results = []
    for count in (1, 2, 3):
        set_threads(count)
        results.append([value.tobytes() for value in everything(at, *operands)])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("name", FAMILIES)
def test_implementations_are_used(name):
    at, x, w, b, g, y = family(name)
    assert conv.conv2d_forward(x, w, b, at=at) is not NotImplemented
    assert conv.conv2d_dx(g, w, size=x.shape[1:3], at=at, mask=y) is not NotImplemented
    assert conv.conv2d_dw(g, x, kernel=w.shape[:2], at=at) is not NotImplemented


@pytest.mark.parametrize("name", ["3x3", "stride 2", "upsampled"])
def test_tile_of_zero_is_im2col(name, monkeypatch):
    monkeypatch.setattr(conv, "TILE", 0)
    monkeypatch.setattr(winograd, "convolve", None)
    monkeypatch.setattr(winograd, "kernel_gradient", None)
    at, *operands = family(name)
    exact = everything(at, *wide(*operands))
    fast = everything(at, *operands)
    for quantity in (0, 3, 4):
        assert distance(fast[quantity], exact[quantity]) < 4e-7


@pytest.mark.parametrize(
    ("w_shape", "at"),
    [
        ((2, 2, 8, 8), Geometry(1, 1)),
        ((1, 7, 8, 8), Geometry()),
        ((17, 17, 2, 8), Geometry(1, 8, "reflect")),
        ((3, 3, 8, 8), Geometry(3, 1)),
        ((3, 3, 8, 8), Geometry(1, 3, "reflect")),
        ((3, 3, 8, 8), Geometry(1, 1, "zero", 3)),
        ((3, 3, 8, 8), Geometry(1, 2, "edge", 2)),
        ((3, 3, 8, 8), Geometry(2, 1, "edge", 2)),
        ((9, 9, 3, 8), Geometry(1, 4, "edge", 2)),
    ],
)
def test_what_no_algorithm_covers_comes_out_right(w_shape, at):
    rng = np.random.default_rng(0)
    x, w = normal(rng, 2, 12, 13, w_shape[2]), normal(rng, *w_shape)
    y, _ = conv2d_forward(x, w, None, at=at)
    g = normal(rng, *y.shape)
    X, Wt, G = wide(x, w, g)
    assert distance(y, conv2d_forward.reference(X, Wt, None, at=at)[0]) < 2e-6
    dx = conv2d_dx.reference(G, Wt, size=(12, 13), at=at)
    assert distance(conv2d_dx(g, w, size=(12, 13), at=at), dx) < 2e-6
    dw = conv2d_dw.reference(G, X, kernel=w_shape[:2], at=at)
    assert distance(conv2d_dw(g, x, kernel=w_shape[:2], at=at), dw) < 2e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_inputs_need_not_be_contiguous(name):
    at, x, w, b, g, y = family(name)
    expected = everything(at, x, w, b, g, y)

    def spread(a):
        big = np.full((*a.shape[:-2], 2 * a.shape[-2], a.shape[-1] + 1), np.nan, a.dtype)
        big[..., ::2, 1:] = a
        return big[..., ::2, 1:]

    swapped = np.ascontiguousarray(w.swapaxes(2, 3)).swapaxes(2, 3)
    result = everything(at, spread(x), swapped, b, spread(g), spread(y))
    assert all(np.array_equal(a, b) for a, b in zip(result, expected, strict=True))


def test_other_types_beside_float32_are_left_to_the_reference():
    at, x, w, b, g, y = family("3x3")
    X, Wt = wide(x, w)
    assert conv.conv2d_forward(x, Wt, b, at=at) is NotImplemented
    assert conv.conv2d_dx(g, Wt, size=x.shape[1:3], at=at, mask=y) is NotImplemented
    assert conv.conv2d_dw(g, X, kernel=(3, 3), at=at) is NotImplemented


def test_a_gradient_may_be_one_number_broadcast():
    at, x, w, _, g, _ = family("3x3")
    ones = np.broadcast_to(np.float32(1), g.shape)
    dx = conv2d_dx.reference(*wide(ones, w), size=x.shape[1:3], at=at)
    assert distance(conv2d_dx(ones, w, size=x.shape[1:3], at=at), dx) < 2e-6


def test_inputs_stay_as_they_are():
    for name in FAMILIES:
        at, *operands = family(name)
        before = [a.copy() for a in operands]
        everything(at, *operands)
        assert all(np.array_equal(a, b) for a, b in zip(operands, before, strict=True))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("K", [3, 4])
def test_transposed_convolution_through_the_op(stride, K):
    rng = np.random.default_rng(0)
    x, w, b = normal(rng, 2, 7, 9, 12), normal(rng, K, K, 12, 10), normal(rng, 10)
    sides = [stride * (n - 1) - 2 + K + stride - 1 for n in (7, 9)]
    g = normal(rng, 2, *sides, 10)  # rounded once for both, and its sum is as large as its numbers make it

    def run(g, *operands):
        inputs = [Tensor(a, requires_grad=True) for a in operands]
        y = conv_transpose2d(*inputs, stride=stride, pad=1, output_pad=stride - 1)
        y.backward(g)
        return y.data, *(t.grad for t in inputs)

    for value, exact in zip(run(g, x, w, b), run(*wide(g, x, w, b)), strict=True):
        assert value.dtype == np.float32
        assert distance(value, exact) < 2e-6


def test_a_step_through_the_op_at_full_reach():
    at, x, w, b, _, _ = family("3x3")

    def run(*operands):
        inputs = [Tensor(a, requires_grad=True) for a in operands]
        y, _ = conv2d(*inputs, pad=at.pad, mode=at.mode, relu=True, statistics=True)
        y.backward(y.data)
        return y.data, *(t.grad for t in inputs)

    for value, exact in zip(run(x, w, b), run(*wide(x, w, b)), strict=True):
        assert distance(value, exact) < 2e-6


# --- found -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["3x3", "stride 2", "upsampled", "from colors", "1x1"])
def test_variance_survives_a_mean_far_from_zero(name):
    at, x, w, b, _, _ = family(name)
    w *= 0.1 / np.linalg.norm(w.reshape(-1, w.shape[3]), axis=0)
    y, (mean, variance) = conv2d_forward(x, w, np.full_like(b, 1000), at=at, statistics=True)
    exact = y.astype(np.float64)
    assert 1e-4 < exact.var(axis=(1, 2)).min() < 0.1  # E[y²] - E[y]² in float32 would be off by 0.1 and more
    np.testing.assert_allclose(variance, exact.var(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose(mean, exact.mean(axis=(1, 2)), rtol=1e-7)


@pytest.mark.parametrize(("C", "M", "K", "stride"), [(512, 2, 16, 2), (1, 9000, 3, 1)])
def test_a_block_is_one_column_at_least(C, M, K, stride):
    """However many channels there are: a column of lines of these holds more than a block should."""
    rng = np.random.default_rng(0)
    x, w = normal(rng, 1, 130, 20, C), normal(rng, K, K, C, M)
    at = Geometry(stride, K // 2)
    expected = conv2d_forward.reference(x, w, None, at=at)[0]
    assert distance(conv2d_forward(x, w, None, at=at)[0], expected) < 1e-5


# --- weights ----------------------------------------------------------------------------------------------


def test_weights_in_training_are_read_at_every_call():
    at, x, w, _, _, _ = family("3x3")
    first, _ = conv2d_forward(x, w, None, at=at)
    w *= 2
    assert np.array_equal(conv2d_forward(x, w, None, at=at)[0], 2 * first)


def test_read_only_weights_are_transformed_once_and_forgotten_with_the_array():
    transforms = forward_transforms(4, 1, 1, 1)
    w = normal(np.random.default_rng(0), 3, 3, 5, 6)
    assert winograd.weights_of(w, transforms, 1) is not winograd.weights_of(w, transforms, 1)
    w.flags.writeable = False
    gc.collect()
    before = len(winograd._frozen)
    weights = winograd.weights_of(w, transforms, 1)
    assert winograd.weights_of(w, transforms, 1) is weights
    view = winograd.weights_of(w.swapaxes(2, 3), transforms, 1)
    assert winograd.weights_of(w.swapaxes(2, 3), transforms, 1) is view and view is not weights
    assert len(winograd._frozen) == before + 2
    weights(), view()
    del w
    gc.collect()
    assert len(winograd._frozen) == before


def test_weights_for_many_tiles_are_kept_from_the_second_time_on(monkeypatch):
    """As far as there is room for them."""
    transforms = forward_transforms(4, 1, 1, 1)
    w = normal(np.random.default_rng(0), 3, 3, 5, 6)
    w.flags.writeable = False
    first, second, third = (winograd.weights_of(w, transforms, winograd.AMORTIZED) for _ in range(3))
    assert first is not second and second is third
    assert second.nbytes == 36 * 5 * 6 * 4
    other = w.copy()
    other.flags.writeable = False
    monkeypatch.setattr(winograd, "KEPT_BYTES", winograd._kept_bytes() + second.nbytes - 1)
    given = [winograd.weights_of(other, transforms, winograd.AMORTIZED) for _ in range(3)]
    assert len({id(weights) for weights in given}) > 1
    assert winograd._frozen[next(reversed(winograd._frozen))][1] is None


def test_a_read_only_view_of_weights_in_training_is_not_kept():
    transforms = forward_transforms(4, 1, 1, 1)
    w = normal(np.random.default_rng(0), 3, 3, 5, 6)
    view = w.view()
    view.flags.writeable = False
    first = winograd.weights_of(view, transforms, 1)().copy()
    w *= 2
    assert np.array_equal(winograd.weights_of(view, transforms, 1)(), 2 * first)


def test_a_thread_without_memory_for_its_part_of_the_weights_stops_the_others(monkeypatch, thread_counts):
    """None waits for ever for that part, and weights that are kept are made anew."""
    set_threads(2)
    w = normal(np.random.default_rng(0), 3, 3, 128, 128)
    x = normal(np.random.default_rng(1), 1, 40, 40, 128)
    w.flags.writeable = False
    monkeypatch.setattr(winograd, "AMORTIZED", 10_000)
    assert len(winograd.Weights(w, forward_transforms(4, 1, 1, 1))._todo) > 3
    expected = conv2d_forward(x, w.copy(), None, at=Geometry(1, 1, "zero", 1))[0]
    transform = winograd.Weights._transform

    def failing(self, w, points):
        if len(self._todo) < 3:
            raise MemoryError("no memory")
        transform(self, w, points)

    with monkeypatch.context() as patch:
        patch.setattr(winograd.Weights, "_transform", failing)
        with pytest.raises(MemoryError):
            conv2d_forward(x, w, None, at=Geometry(1, 1, "zero", 1))
    assert np.array_equal(conv2d_forward(x, w, None, at=Geometry(1, 1, "zero", 1))[0], expected)


# --- the algorithms, along one axis -----------------------------------------------------------------------


@pytest.mark.parametrize(("m", "r"), [(2, 2), (2, 3), (4, 2), (4, 3)])
def test_minimal_filter_correlates(m, r):
    A, G, B = minimal_filter(m, r)
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(m + r - 1), rng.standard_normal(r)
    np.testing.assert_allclose(A @ ((G @ w) * (B @ x)), np.correlate(x, w), rtol=1e-10)


@pytest.mark.parametrize(
    ("stride", "upsample", "pad"), [(1, 1, 0), (1, 1, 2), (2, 1, 0), (2, 1, 1), (2, 1, 2), (1, 2, 1)]
)
def test_the_gradient_is_the_transpose_of_the_convolution(tile, stride, upsample, pad):
    """As matrices of the whole axis, from pixels to outputs and back."""
    H, w = 9, np.array([0.5, -1.5, 2.0])
    outputs = (upsample * H + 2 * pad - 3) // stride + 1

    def matrix(transforms, read, written):
        result = np.zeros((written, read))
        for tile_number in range(-(-written // len(transforms.output))):
            local = transforms.output @ ((transforms.kernel @ w)[:, None] * transforms.window)
            for i, row in enumerate(local):
                for j, value in enumerate(row):
                    at, source = (
                        tile_number * len(transforms.output) + i,
                        tile_number * transforms.step + transforms.start + j,
                    )
                    if at < written and 0 <= source < read:
                        result[at, source] += value
        return result

    there = matrix(forward_transforms(tile, stride, upsample, pad), H, outputs)
    back = matrix(dx_transforms(tile, stride, upsample, pad), outputs, H)
    np.testing.assert_allclose(back, there.T, atol=1e-5)


@pytest.mark.parametrize("N", [1, 2, 3])
@pytest.mark.parametrize("bytes_per_tile", [1, 18_432, 1 << 17])
def test_blocks_cover_each_tile_once_and_none_is_empty(N, bytes_per_tile):
    """Three rows of 33 tiles were cut into four blocks once, one of them empty: no photo of 512 x 40 came through."""
    for rows in range(1, 10):
        for columns in range(1, 70):
            met = np.zeros((N, rows, columns), int)
            for n, top, height, left, width in blocking.tile_blocks(N, rows, columns, bytes_per_tile):
                assert height > 0 and width > 0, (rows, columns)
                met[n, top : top + height, left : left + width] += 1
            assert (met == 1).all()
