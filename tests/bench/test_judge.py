"""The numbers of `bench/judge.py` see the faults that they are named for, and nothing else."""

import numpy as np
import pytest

pytest.importorskip("torch")

from bench.judge import better
from bench.judge_measures import chroma, lab, lines, palette_distance, pan, stripes, sunset


def noise(seed=0, size=96):
    return np.random.default_rng(seed).random((size, size, 3)).astype(np.float32)


def test_lab_of_known_colors():
    """White, middle gray and red, after the definition of CIE Lab under D65."""
    found = lab(np.array([[[1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0]]], np.float32))[0]
    np.testing.assert_allclose(found, [[100, 0, 0], [53.39, 0, 0], [53.24, 80.09, 67.2]], atol=0.15)


def test_gray_has_no_chroma_and_color_has():
    gray = np.repeat(noise()[..., :1], 3, axis=-1)
    assert chroma(gray) < 0.1 < 10 < chroma(noise())


def test_palettes_are_compared_wherever_the_colors_are():
    picture = noise()
    elsewhere = np.random.default_rng(1).permutation(picture.reshape(-1, 3)).reshape(picture.shape)
    assert palette_distance(picture, elsewhere) < 1e-3
    assert palette_distance(picture, picture * 0.5) > 10


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_weave_is_a_line_in_the_spectrum(period):
    picture = noise()
    woven = picture + 0.3 * (np.arange(96) % period == 0)[None, :, None]
    assert lines(picture) < 2 < 4 < lines(woven)
    assert lines(woven.swapaxes(0, 1)) == pytest.approx(lines(woven))


def test_stripes_along_rows_and_not_along_columns():
    along = np.repeat(noise()[:, :1], 96, axis=1)
    assert stripes(along) > 0.99
    assert stripes(along.swapaxes(0, 1) + 0.01 * noise()) < 0.1 and stripes(noise()) < 0.1


def test_a_result_that_moves_along_does_not_change_in_a_pan():
    photo, art = noise(size=80), noise(1)
    assert pan(lambda x, art: 1 - x, photo, art) < 1e-4

    def on_a_grid(x, art):
        return x + 0.1 * (np.arange(x.shape[1]) % 4 == 0)[None, :, None]

    assert pan(on_a_grid, photo, art) > 5


def test_the_sunset_is_smooth_and_its_ground_flat():
    picture = sunset()
    assert picture.dtype == np.float32 and (picture == picture[:, :1]).all()
    assert (picture[230:290] == picture[230]).all()


def test_better_is_lower_style_in_both_at_no_higher_content_in_both():
    base = {"vgg content": 1.0, "vgg style": 1.0, "squeeze content": 1.0, "squeeze style": 1.0}
    ours = {
        "better": {**base, "vgg style": 0.9, "squeeze style": 0.9},
        "one judge alone": {**base, "vgg style": 0.9},
        "at a price": {**base, "vgg style": 0.9, "squeeze style": 0.9, "vgg content": 1.1},
    }
    assert better(ours, dict.fromkeys(ours, base)) == pytest.approx(1 / 3)
