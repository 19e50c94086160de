"""The CUDA kernels, all but the products of matrices, on the emulated GPU: every primitive equals its reference."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanostyle.autograd.ops.math import squared_distance_da, squared_distance_forward
from nanostyle.autograd.ops.norm import normalize_backward, normalize_forward, scale_and_shift, statistics_of
from nanostyle.autograd.ops.pool import avg_pool_dx, avg_pool_forward, max_pool_dx, max_pool_forward
from nanostyle.autograd.ops.shape import pad_dx, pad_forward, upsample_dx, upsample_forward
from nanostyle.autograd.ops.variation import total_variation_dx, total_variation_forward
from nanostyle.autograd.tensor import matmul_forward
from nanostyle.backend.device import cupy
from nanostyle.backend.dispatch import reference_only
from nanostyle.backend.gpu import constants, launch
from nanostyle.backend.gpu.norm import TileStatistics
from nanostyle.errors import NanostyleError
from nanostyle.optim.adam import adam_steps, average_steps, clip_grad_norm
from tests.cuda_on_cpu import emulator
from tests.cuda_on_cpu.compare import check, compare, down, dtypes, normal, on_gpu, pictures, seeds

pytestmark = pytest.mark.skipif(bool(emulator.no_gpu), reason=str(emulator.no_gpu))

drawn = settings(max_examples=20)
modes = st.sampled_from(["zero", "reflect", "edge"])


@pytest.fixture(scope="module", autouse=True)
def built():
    emulator.build_all([v for v in emulator.VARIANTS if v[0] not in ("conv", "wgrad")])


# --- norm -------------------------------------------------------------------------------------------------


@drawn
@given(pictures, dtypes, seeds)
def test_statistics(shape, dtype, rng):
    mean, variance = compare(statistics_of, normal(rng, shape, dtype) * 2 + 3, tolerance=2e-6)
    assert mean.dtype == variance.dtype == np.float32


def test_statistics_of_a_channel_far_from_zero():
    """E[x²] - E[x]² would have nothing left of a deviation of 0.01 around 1000 in float32."""
    x = (1000 + 0.01 * np.random.default_rng(0).standard_normal((1, 40, 40, 5))).astype(np.float32)
    _, variance = on_gpu(statistics_of, x)
    np.testing.assert_allclose(variance, statistics_of.reference(x.astype(float))[1], rtol=1e-3)


def test_statistics_of_many_tiles():
    compare(statistics_of, normal(np.random.default_rng(0), (1, 67, 61, 40)) + 1)


@pytest.mark.parametrize("rows", [1, 3])
def test_scale_and_shift(rows):
    rng = np.random.default_rng(0)
    mean, variance = normal(rng, (3, 20)), normal(rng, (3, 20)) ** 2
    compare(scale_and_shift, (mean, variance), normal(rng, (rows, 20)), normal(rng, (rows, 20)), eps=1e-5)


@pytest.mark.parametrize("rows", [1, 2])
def test_statistics_are_joined_and_used_in_one_go(rows):
    """Two pictures of two parts, each of 5 x 7 pixels in tiles of 4 x 4: as if the tiles had not been."""
    rng = np.random.default_rng(0)
    x, gamma, beta = normal(rng, (2, 2, 5, 7, 12)) + 3, normal(rng, (rows, 12)), normal(rng, (rows, 12))
    tiles = [x[:, :, top : top + 4, left : left + 4].reshape(2, 2, -1, 12) for top in (0, 4) for left in (0, 4)]
    found = [np.stack([t.mean(axis=2), ((t - t.mean(axis=2, keepdims=True)) ** 2).sum(axis=2)], axis=-1) for t in tiles]
    partial = np.stack(found, axis=2).astype(np.float32)

    def run(partial, gamma, beta):
        return scale_and_shift(TileStatistics(partial, (5, 7), (4, 4)), gamma, beta, eps=1e-5)

    statistics = statistics_of.reference(x.reshape(2, 2 * 5, 7, 12).astype(float))
    check(on_gpu(run, partial, gamma, beta), scale_and_shift.reference(statistics, gamma, beta, eps=1e-5), 2e-6)


@drawn
@given(pictures, dtypes, seeds, st.booleans(), st.booleans())
def test_normalize(shape, dtype, rng, relu, with_residual):
    N, _, _, C = shape
    residual = normal(rng, shape, dtype) if with_residual else None
    compare(normalize_forward, normal(rng, shape, dtype), normal(rng, (N, C)), normal(rng, (N, C)), residual, relu=relu)


@drawn
@given(pictures, dtypes, seeds, st.booleans(), st.booleans())
def test_normalize_backward(shape, dtype, rng, relu, need_g):
    N, _, _, C = shape
    x, g = normal(rng, shape, dtype), normal(rng, shape, dtype)
    y = normal(rng, shape, dtype) if relu else None
    mean, rstd, gamma = normal(rng, (N, C)), rng.uniform(0.5, 2, (N, C)).astype(np.float32), normal(rng, (N, C))
    compare(normalize_backward, g, x, y, mean, rstd, gamma, need_g=need_g)


# --- pool -------------------------------------------------------------------------------------------------

windows = st.tuples(st.integers(1, 3), st.integers(1, 3))


@drawn
@given(pictures, dtypes, seeds, windows)
def test_pooling(shape, dtype, rng, window):
    size, stride = min(window[0], *shape[1:3]), window[1]
    # Few different values, so that windows have several largest ones.
    x = rng.integers(-2, 3, shape).astype(dtype)
    y = compare(max_pool_forward, x, size=size, stride=stride)
    compare(avg_pool_forward, x, size=size, stride=stride)
    g = normal(rng, y.shape, dtype)
    compare(max_pool_dx, g, x, y, size=size, stride=stride)
    compare(avg_pool_dx, g, shape=shape, size=size, stride=stride)


# --- shape ------------------------------------------------------------------------------------------------

sides = st.one_of(st.integers(0, 5), st.tuples(*[st.integers(0, 13)] * 4))


@drawn
@given(pictures, dtypes, seeds, sides, modes)
def test_pad(shape, dtype, rng, pad, mode):
    y = compare(pad_forward, normal(rng, shape, dtype), pad=pad, mode=mode)
    compare(pad_dx, normal(rng, y.shape, dtype), pad=pad, mode=mode)


@drawn
@given(pictures, dtypes, seeds, st.integers(1, 3))
def test_upsample(shape, dtype, rng, factor):
    y = compare(upsample_forward, normal(rng, shape, dtype), factor=factor)
    compare(upsample_dx, normal(rng, y.shape, dtype), factor=factor)


# --- math, gram -------------------------------------------------------------------------------------------


@drawn
@given(pictures, dtypes, seeds, st.booleans(), st.booleans())
def test_squared_distance(shape, dtype, rng, weighted, relative):
    a, b = normal(rng, shape, dtype), normal(rng, shape, dtype)
    weight = rng.uniform(0, 2, shape[0]).astype(np.float32) if weighted else None
    total, share = compare(squared_distance_forward, a, b, weight, relative=relative, tolerance=2e-6)
    assert total.dtype == share.dtype == np.float32
    args = np.array(3, np.float32), rng.uniform(0, 2, shape[0]).astype(np.float32), a, b
    got = on_gpu(squared_distance_da, *args)
    check(got, squared_distance_da.reference(*(v.astype(float) for v in args)), 1e-3)


def test_a_distance_from_black_is_not_divided_by_nothing():
    a = np.ones((2, 3, 3, 3), np.float32)
    compare(squared_distance_forward, a, np.zeros_like(a), None, relative=True)


@drawn
@given(pictures, dtypes, seeds)
def test_total_variation(shape, dtype, rng):
    x = normal(rng, shape, dtype)
    compare(total_variation_forward, x, tolerance=2e-6)
    compare(total_variation_dx, np.array(3, np.float32), x, tolerance=1e-3 if dtype == np.float16 else 2e-6)


# --- adam -------------------------------------------------------------------------------------------------

OPTIONS = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


def floats(rng, shapes, dtype=np.float32):
    return [normal(rng, shape, dtype) for shape in shapes]


@drawn
@given(st.lists(st.integers(1, 600), min_size=1, max_size=4), seeds, st.booleans())
def test_adam(sizes, rng, on_device):
    """The numbers of a step are those of Python, or stand in the device's memory."""
    ps, ms, vs = floats(rng, sizes), [np.zeros(n, np.float32) for n in sizes], [np.zeros(n, np.float32) for n in sizes]
    wide = [[a.astype(float) for a in many] for many in (ps, ms, vs)]
    for step in (1, 2, 3):
        gs = floats(rng, sizes)

        def run(step=step, given=(ps, gs, ms, vs)):
            lists = [[cupy().asarray(a) for a in many] for many in given]
            numbers = {"lr": 0.01, "step": float(step), "factor": 0.125}
            if on_device:
                numbers = {name: cupy().asarray(np.float32(x)) for name, x in numbers.items()}
            adam_steps(*lists, **numbers, **OPTIONS)
            return tuple(tuple(many) for many in (lists[0], *lists[2:]))

        ps, ms, vs = on_gpu(run)
        adam_steps.reference(
            wide[0], [g.astype(float) for g in gs], *wide[1:], lr=0.01, step=step, factor=0.125, **OPTIONS
        )
        check((ps, ms, vs), tuple(map(tuple, wide)), 2e-6)


def test_many_arrays_of_many_blocks_have_one_length():
    gs = floats(np.random.default_rng(0), [(3, 3, 5, 7), (1,), (9000,), (64,)])
    length = sum((g.astype(float) ** 2).sum() for g in gs) ** 0.5
    for scale, max_norm in ((1.0, 1000.0), (8.0, 1.0), (0.5, 1e-3)):
        norm, factor = on_gpu(lambda: clip_grad_norm([*map(cupy().asarray, gs)], max_norm=max_norm, scale=scale))  # noqa: B023
        assert float(norm) == pytest.approx(length / scale, rel=1e-5)
        assert float(factor) == pytest.approx(clip_grad_norm.reference(gs, max_norm=max_norm, scale=scale)[1], rel=1e-5)
        assert float(factor) * length <= max_norm * (1 + 1e-5)


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, 1e30])
def test_a_gradient_that_is_not_finite_moves_nothing(spoilt):
    ps, gs, ms, vs, averages = (floats(np.random.default_rng(i), [(5,), (40, 3)]) for i in range(5))
    gs[1][7, 1] = spoilt

    def run():
        lists = [[cupy().asarray(a) for a in many] for many in (ps, gs, ms, vs, averages)]
        norm, factor = clip_grad_norm(lists[1], max_norm=1.0, scale=1.0)
        adam_steps(*lists[:4], lr=0.1, step=1, factor=factor, **OPTIONS)
        average_steps(lists[4], lists[0], weight=0.5, factor=factor)
        return norm, factor, *(tuple(many) for many in lists)

    norm, factor, *lists = on_gpu(run)
    assert not np.isfinite(norm) and not np.isfinite(factor)
    for got, before in zip(lists, (ps, gs, ms, vs, averages), strict=True):
        assert all((a == b).all() for a, b in zip(got, before, strict=True) if np.isfinite(b).all())
    exact = [[a.astype(float) for a in many] for many in (ps, ms, vs)]
    adam_steps.reference(exact[0], gs, *exact[1:], lr=0.1, step=1, factor=float(factor), **OPTIONS)
    assert (exact[0][0] == ps[0]).all()


@drawn
@given(st.lists(st.integers(1, 600), min_size=1, max_size=4), seeds)
def test_running_averages(sizes, rng):
    averages, ps = floats(rng, sizes), floats(rng, sizes)

    def run():
        lists = [[cupy().asarray(a) for a in many] for many in (averages, ps)]
        average_steps(*lists, weight=0.25, factor=1.0)
        return tuple(lists[0])

    wide = [a.astype(float) for a in averages]
    average_steps.reference(wide, ps, weight=0.25, factor=1.0)
    check(on_gpu(run), tuple(wide), 1e-6)


# --- dispatch and launch ----------------------------------------------------------------------------------


def test_a_primitive_runs_its_kernel_for_arrays_of_the_gpu():
    x = normal(np.random.default_rng(0), (2, 5, 4, 3))
    with emulator.gpu() as cp:
        ours = down(statistics_of(cp.asarray(x)))
        with reference_only():
            plain = down(statistics_of(cp.asarray(x)))
    check(ours, plain, 1e-6)


def test_float64_and_strided_arrays():
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 6))
    with emulator.gpu() as cp:
        wide = down(statistics_of(cp.asarray(x)))
        strided = down(statistics_of(cp.asarray(x.astype(np.float32))[:, ::2, 1:, ::-1]))
    check(wide, statistics_of.reference(x), 1e-12)
    check(strided, statistics_of.reference(x[:, ::2, 1:, ::-1]), 1e-6)


def test_a_launch_is_checked_before_it_is_made():
    with emulator.emulated() as cp:
        x = cp.empty((4, 4))
        for args, match in (
            ((x.T, x, 16, 1.0), "partial: expected a contiguous array"),
            ((x, x, 2**31, 1.0), "count: expected a number of 32 bits"),
            ((x, x, 16, 1), "scale: expected a number of type float32, got int int32"),
            ((x, x, x, 1.0), "count: expected a number of type int32, got DeviceArray float32"),
            ((x, x.astype(np.float16), 16, 1.0), "sum: expected an array of float32, got DeviceArray float16"),
            ((x, 16, 16, 1.0), "sum: expected an array of float32, got int int32"),
            ((x, x, None, 1.0), "count: expected a number"),
        ):
            with pytest.raises(ValueError, match=rf"math.join_sums, {match}"):
                launch.launch("math", "join_sums", 1, *args, HALF=0, VEC=1)
        with pytest.raises(ValueError, match=r"math.join_sums: expected 4 arguments, got 3"):
            launch.launch("math", "join_sums", 1, x, x, 16, HALF=0, VEC=1)
        with pytest.raises(NanostyleError, match=r"kernels/math.cu has no kernel join_all"):
            launch.launch("math", "join_all", 1, x)
        with pytest.raises(ValueError, match=r"math.join_sums: expected a grid .* got \(1, 70000\)"):
            launch.launch("math", "join_sums", (1, 70000), x, x, 4, 1.0, HALF=0, VEC=1)
        huge = SimpleNamespace(flags=x.flags, size=2**31, shape=(2**31,), dtype=np.dtype(np.float32))
        with pytest.raises(ValueError, match="too large for a kernel; use a smaller picture"):
            launch.launch("math", "join_sums", 1, huge, x, 16, 1.0, HALF=0, VEC=1)
        launch.launch("math", "join_sums", 0, x, x, 16, 1.0, HALF=0, VEC=1)  # nothing to do


def test_every_kernel_declares_what_can_be_checked():
    for path in launch.folder().glob("*.cu"):
        for _, kernel in emulator.KERNEL.findall(path.read_text()):
            declared = launch.parameters(path.stem, kernel, True)
            assert declared and {p.dtype for p in declared} <= {np.dtype(t) for t in "feiQ"}, kernel


def test_missing_kernels_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(launch, "__file__", str(tmp_path / "nanostyle" / "backend" / "gpu" / "launch.py"))
    with pytest.raises(NanostyleError, match=r"CUDA kernels are missing: looked in .*; reinstall nanostyle"):
        launch.source.__wrapped__("norm")


def test_each_kernel_file_is_compiled_with_the_headers_before_it():
    text = launch.source("norm")
    assert text.index('#line 1 "common.cuh"') < text.index('#line 1 "norm.cu"')
    assert "#include <cuda_fp16.h>" in text


def test_the_kernels_have_no_numbers_of_their_own_where_python_has_them():
    """They get them as macros, in front of the text, and do not compile without."""
    for name, number in constants.macros().items():
        assert launch.source("norm").count(f"#define {name} {number}\n") == 1
        for path in [*launch.folder().glob("*.cu"), *launch.folder().glob("*.cuh")]:
            assert not re.search(rf"#define {name}\b|constexpr int {name}\b", path.read_text()), path
    headers = launch.source("norm").partition('#line 1 "common.cuh"')[2]
    with pytest.raises(RuntimeError, match=r"error.*constants.py"):
        emulator.build(headers, ())
    for missing in ("STAGES", "A_PITCH", "B_PITCH", "FLAT"):
        defines = dict(next(macros for file, macros in emulator.VARIANTS if file == "wgrad"))
        del defines[missing]
        with pytest.raises(RuntimeError, match=r"error.*tiling.py"):
            emulator.build(launch.source("wgrad"), tuple(defines.items()))


@pytest.mark.parametrize(
    ("a", "b"), [((4, 100), (100, 33)), ((2, 3, 5), (5, 4)), ((3, 5), (2, 5, 40)), ((2, 1, 3, 4), (5, 4, 1))]
)
def test_products_of_small_matrices(a, b):
    """As they are, and transposed without a copy."""
    rng = np.random.default_rng(0)
    a, b = normal(rng, a), normal(rng, b)
    compare(matmul_forward, a, b)
    g = normal(rng, matmul_forward(a, b).shape)
    compare(matmul_forward, g, b.swapaxes(-1, -2))
    compare(matmul_forward, a.swapaxes(-1, -2), g)
