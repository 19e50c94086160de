"""The CPU's passes over blocks: each implementation equals its reference, and the number of threads changes no bit."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanostyle.autograd.ops import norm
from nanostyle.autograd.ops.norm import scale_and_shift
from nanostyle.backend.cpu import blocking
from nanostyle.backend.threads import set_threads, thread_count

quick = settings(max_examples=200, derandomize=True)

OPS = "nanostyle.autograd.ops."
MODULES = [
    importlib.import_module(name)
    for name in ("nanostyle.optim.adam", *(OPS + stem for stem in ("gram", "math", "norm", "pool", "variation")))
]
# Every primitive of these modules: one without an implementation fails.
PRIMITIVES = {
    name: f
    for module in MODULES
    for name, f in vars(module).items()
    if hasattr(f, "reference") and f.__module__ == module.__name__
}

shapes = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that small pictures are cut into many blocks, with rests."""
    monkeypatch.setattr(blocking, "BLOCK", 40)
    monkeypatch.setattr(blocking, "ROW", 12)


def normal(rng, shape, layout="plain"):
    """Float32 numbers: `plain`, `cropped` out of a larger array, or `spread` with gaps between the values."""
    if layout == "plain":
        return rng.standard_normal(shape, np.float32)
    if layout == "cropped":
        larger = rng.standard_normal([n + 2 for n in shape], np.float32)
        return larger[tuple(slice(1, -1) for _ in shape)]
    return rng.standard_normal([2 * n for n in shape], np.float32)[tuple(slice(None, None, 2) for _ in shape)]


def arguments(name, shape, rng, layout="plain", relu=False, extra=False, size=2):
    """Arguments for the primitive `name` at pictures of `shape`; `extra`: a residual, or `need_g`."""
    N, H, W, C = shape
    x, per_channel = normal(rng, shape, layout), lambda: normal(rng, (N, C))
    pooled = (N, H // size, W // size, C)
    window = {"size": size, "stride": size}
    match name:
        case "statistics_of" | "gram_forward" | "total_variation_forward":
            return (x,), {}
        case "normalize_forward":
            return (x, per_channel(), per_channel(), normal(rng, shape, layout) if extra else None), {"relu": relu}
        case "scale_and_shift":
            statistics = per_channel(), per_channel() ** 2 + np.float32(1e-3)
            return (statistics, per_channel(), per_channel()), {"eps": 1e-5}
        case "normalize_backward":
            y = np.maximum(normal(rng, shape, layout), 0) if relu else None
            mean, variance = x.mean((1, 2)), x.var((1, 2))
            g = normal(rng, shape, layout)
            return (g, x, y, mean, 1 / np.sqrt(variance + np.float32(1e-5)), per_channel()), {"need_g": extra}
        case "gram_dx":
            return (normal(rng, (N, C, C), layout), x), {}
        case "total_variation_dx":
            return (np.float32(0.7), x), {}
        case "squared_distance_forward":
            return (x, normal(rng, shape, layout), None if relu else normal(rng, (N,))), {"relative": extra}
        case "squared_distance_da":
            return (np.float32(0.7), normal(rng, (N,)), x, normal(rng, shape, layout)), {}
        case "max_pool_forward" | "avg_pool_forward":
            return (x,), window
        case "max_pool_dx":
            x = np.round(x)  # ties
            y = x[:, : H // size * size, : W // size * size].reshape(N, H // size, size, W // size, size, C)
            return (normal(rng, pooled, layout), x, y.max(axis=(2, 4))), window
        case "avg_pool_dx":
            return (normal(rng, pooled, layout),), window | {"shape": shape}
    raise AssertionError(name)


def flat(result):
    return [r for r in (result if isinstance(result, tuple) else (result,)) if r is not None]


def implementations_of(primitive):
    return importlib.import_module("nanostyle.backend.cpu." + primitive.__module__.rpartition(".")[2])


pictures = pytest.mark.parametrize(
    "name", sorted(PRIMITIVES.keys() - {"adam_step", "adam_steps", "average_steps", "clip_grad_norm"})
)


@pictures
@quick
@given(
    shape=shapes,
    seed=st.integers(0, 999),
    layout=st.sampled_from(["plain", "cropped", "spread"]),
    relu=st.booleans(),
    extra=st.booleans(),
    size=st.integers(1, 3),
)
def test_implementation_equals_reference(name, shape, seed, layout, relu, extra, size):
    shape = (shape[0], max(shape[1], size), max(shape[2], size), shape[3])
    args, options = arguments(name, shape, np.random.default_rng(seed), layout, relu, extra, size)
    primitive = PRIMITIVES[name]
    implementation = getattr(implementations_of(primitive), name)(*args, **options)
    wide = [a.astype(np.float64) if isinstance(a, np.ndarray | np.generic) else a for a in args]
    expected = primitive.reference(*wide, **options)
    assert len(flat(implementation)) == len(flat(expected))
    for ours, exact in zip(flat(implementation), flat(expected), strict=True):
        assert ours.dtype == np.float32 and ours.shape == exact.shape
        scale = max(1, np.abs(exact).max(initial=0))
        np.testing.assert_allclose(ours, exact, rtol=2e-5, atol=1e-5 * scale)
    assert (implementation[3] is None) == (not extra) if name == "normalize_backward" else True


@pictures
def test_threads_change_no_bit(name):
    """200 x 31 pixels in blocks of 40 values: hundreds of items, whichever thread takes which."""
    args, options = arguments(name, (2, 200, 31, 5), np.random.default_rng(0), relu=True, extra=True)
    results, before = [], thread_count()
    try:
        for count in (1, 2, 5):
            set_threads(count)
            results.append(flat(PRIMITIVES[name](*args, **options)))
    finally:
        set_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pictures
def test_arguments_are_left_as_they_were(name):
    args, options = arguments(name, (2, 6, 5, 3), np.random.default_rng(0), relu=True, extra=True)
    kept = [np.copy(a) if isinstance(a, np.ndarray) else a for a in args]
    PRIMITIVES[name](*args, **options)
    for a, b in zip(args, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layout", ["plain", "cropped", "spread", "read-only"])
def test_a_result_takes_the_place_of_what_is_spent_where_it_can(layout):
    rng, shape = np.random.default_rng(0), (2, 6, 5, 3)
    x, *others = normal(rng, shape, layout if layout != "read-only" else "plain"), *normal(rng, (2, 2, 3)), None
    x.flags.writeable = layout != "read-only"
    kept = x.copy()
    expected = norm.normalize_forward(x, *others, relu=True)
    np.testing.assert_array_equal(x, kept)
    found = norm.normalize_forward(x, *others, relu=True, spent=True)
    np.testing.assert_array_equal(found, expected)
    assert np.shares_memory(found, x) == (layout == "plain")
    np.testing.assert_array_equal(x, expected if layout == "plain" else kept)


@pytest.mark.parametrize("mean", [0, 1e3, -1e5])
def test_statistics_far_from_zero(mean, monkeypatch):
    """Where float32 leaves few digits of the deviation, none of those that are there may be lost."""
    monkeypatch.undo()
    x = (mean + np.random.default_rng(0).standard_normal((1, 300, 301, 3))).astype(np.float32)
    ours = PRIMITIVES["statistics_of"](x)
    exact = PRIMITIVES["statistics_of"].reference(x.astype(np.float64))
    np.testing.assert_allclose(ours[0], exact[0], rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(ours[1], exact[1], rtol=2e-6)


def test_variance_of_the_last_digits_over_many_blocks():
    """Blocks' means that were rounded to float32 would add a hundredth."""
    x = (1e5 + 0.02 * np.random.default_rng(0).standard_normal((1, 60, 50, 2))).astype(np.float32)
    exact = PRIMITIVES["statistics_of"].reference(x.astype(np.float64))
    np.testing.assert_allclose(PRIMITIVES["statistics_of"](x)[1], exact[1], rtol=1e-5)


def test_gram_of_many_blocks():
    x = np.random.default_rng(0).standard_normal((2, 100, 97, 6), np.float32) + 1
    exact = PRIMITIVES["gram_forward"].reference(x.astype(np.float64))
    np.testing.assert_allclose(PRIMITIVES["gram_forward"](x), exact, rtol=1e-6, atol=1e-6)


def test_statistics_of_constant_channels_are_exact():
    x = np.broadcast_to(np.float32([0.1, 1e6, -3]), (2, 50, 7, 3)).copy()
    mean, variance = PRIMITIVES["statistics_of"](x)
    np.testing.assert_array_equal(mean, x[:, 0, 0])
    np.testing.assert_allclose(variance, 0, atol=1e-9)


def test_max_pool_sends_the_gradient_of_a_tie_to_the_first():
    x = np.zeros((1, 4, 4, 1), np.float32)
    x[0, 2:, 2:, 0] = [[-1, 5], [5, 5]]
    y = PRIMITIVES["max_pool_forward"](x, size=2, stride=2)
    dx = PRIMITIVES["max_pool_dx"](np.float32([[[[1], [2]], [[3], [4]]]]), x, y, size=2, stride=2)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 0, 4], [0, 0, 0, 0]])


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_overlapping_windows_are_left_to_the_reference(kind):
    x = np.random.default_rng(0).standard_normal((1, 7, 6, 2), np.float32)
    forward, backward = PRIMITIVES[f"{kind}_pool_forward"], PRIMITIVES[f"{kind}_pool_dx"]
    assert getattr(implementations_of(forward), forward.__name__)(x, size=3, stride=2) is NotImplemented
    y = forward(x, size=3, stride=2)
    np.testing.assert_array_equal(y, forward.reference(x, size=3, stride=2))
    args, options = ((y, x, y), {}) if kind == "max" else ((y,), {"shape": x.shape})
    assert (
        getattr(implementations_of(backward), backward.__name__)(*args, size=3, stride=2, **options) is NotImplemented
    )
    assert backward(*args, size=3, stride=2, **options).shape == x.shape


# --- Adam ------------------------------------------------------------------------------------------------

HYPER = {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


@quick
@given(shape=st.lists(st.integers(0, 9), max_size=3).map(tuple), seed=st.integers(0, 999), spread=st.booleans())
def test_adam_equals_reference_over_steps(shape, seed, spread):
    rng = np.random.default_rng(seed)
    p, m, v = np.asarray(normal(rng, shape)), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    exact = [a.astype(np.float64) for a in (p, m, v)]
    for step in range(1, 6):
        g = np.asarray(normal(rng, shape, "spread" if spread and shape else "plain"))
        PRIMITIVES["adam_step"](p, g, m, v, step=step, **HYPER)
        PRIMITIVES["adam_step"].reference(exact[0], g.astype(np.float64), *exact[1:], step=step, **HYPER)
    for ours, theirs in zip((p, m, v), exact, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_adam_moves_a_strided_parameter_in_place():
    whole = np.zeros((4, 6), np.float32)
    p = whole[:, ::2]
    PRIMITIVES["adam_step"](p, np.ones_like(p), np.zeros_like(p), np.zeros_like(p), step=1, **HYPER)
    np.testing.assert_allclose(whole[:, ::2], -0.01, rtol=1e-5)
    np.testing.assert_array_equal(whole[:, 1::2], 0)


def test_adam_on_threads_changes_no_bit():
    rng, before = np.random.default_rng(0), thread_count()
    start, g = rng.standard_normal((2, 3000), np.float32)
    results = []
    try:
        for count in (1, 4):
            set_threads(count)
            p, m, v = start.copy(), np.zeros_like(g), np.zeros_like(g)
            PRIMITIVES["adam_step"](p, g, m, v, step=1, **HYPER)
            results.append((p, m, v))
    finally:
        set_threads(before)
    np.testing.assert_array_equal(results[0], results[1])


def test_what_varies_by_rounding_alone_is_constant():
    """A channel whose variance is far below what rounding makes of the layer's largest values is left out."""
    mean = np.array([[4, 0, -3, 1e-3]], np.float32)
    variance = np.array([[1e-11, 1e-11, 1e-8, 2e-10]], np.float32)
    gamma, beta = np.full((2, 1, 4), 2, np.float32)
    found = scale_and_shift((mean, variance), gamma, beta, eps=1e-5)
    expected = scale_and_shift.reference((mean, variance), gamma, beta, eps=1e-5)
    for quantity, exact in zip(found, expected, strict=True):
        np.testing.assert_allclose(quantity[:, 2:], exact[:, 2:], rtol=1e-5)
    _, rstd, scale, shift = found
    assert not rstd[:, :2].any() and not scale[:, :2].any() and (shift[:, :2] == 2).all()
