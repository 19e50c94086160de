"""Resampling keeps sizes, ranges and ramps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nanostyle.io.resample import fitted, resize


@pytest.mark.parametrize("shape", [(8, 12, 3), (2, 8, 12, 3), (8, 12, 1), (2, 2, 8, 12, 5)])
def test_resize_shapes(shape):
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    resized = resize(pixels, (5, 20))
    assert resized.shape == (*shape[:-3], 5, 20, shape[-1])
    assert resized.dtype == np.float32
    assert resized.flags.c_contiguous
    one_plane = np.index_exp[(-1,) * (len(shape) - 3)] + np.index_exp[:, :, -1:]
    np.testing.assert_array_equal(resized[one_plane], resize(pixels[one_plane], (5, 20)))


@given(
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    st.floats(-5, 5, width=32),
)
def test_resize_keeps_constants_and_ranges(before, after, value):
    constant = np.full((*before, 3), value, np.float32)
    np.testing.assert_allclose(resize(constant, after), value, rtol=1e-5, atol=1e-5)
    noise = np.random.default_rng(0).random((*before, 3), dtype=np.float32)
    resized = resize(noise, after)
    assert noise.min() <= resized.min() <= resized.max() <= noise.max()


def test_resize_keeps_a_ramp_and_the_finest_steps():
    ramp = np.linspace(0, 1e-3, 64, dtype=np.float32)[None, :, None].repeat(64, 0)
    small = resize(ramp, (16, 16))
    np.testing.assert_allclose(small[8, 2:-2, 0], ramp[0].reshape(16, 4).mean(1)[2:-2], rtol=1e-2)


def test_resize_to_the_same_size_is_a_copy():
    pixels = np.random.default_rng(0).random((4, 5, 3))
    resized = resize(pixels.astype(np.float32), (4, 5))
    np.testing.assert_array_equal(resized, pixels.astype(np.float32))
    resized[:] = 0
    assert pixels.min() > 0
    assert resize(pixels[:, ::-1], (4, 5)).dtype == np.float32


@pytest.mark.parametrize(("shape", "size"), [((4, 5), (2, 2)), ((4, 5, 3), (0, 2)), ((0, 5, 3), (2, 2))])
def test_resize_refuses(shape, size):
    with pytest.raises(ValueError, match="cannot resize an array of shape"):
        resize(np.zeros(shape, np.float32), size)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 3000))
def test_fitted_has_the_long_side_and_the_proportions(height, width, side):
    size = fitted((height, width), side)
    assert max(size) == side
    assert min(size) >= 1
    assert abs(min(size) - side * min(height, width) / max(height, width)) <= 1
