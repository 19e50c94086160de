"""Scores of a way to stylize, where the right answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from nanostyle.methods.evaluate import evaluate
from nanostyle.methods.gatys import gatys
from nanostyle.methods.gatys_options import GatysOptions
from tests.support.networks import tiny_vgg
from tests.support.pictures import ART, OTHER_ART, PHOTO

OPTIONS = GatysOptions(iterations=12, style_weight=5, tv_weight=0)
PHOTOS = [PHOTO, PHOTO[::-1].copy()]


def after(iterations):
    """What Gatys' method itself gives after so many iterations, with the same objective."""

    def render(name, photo):
        painting = {"art": ART, "other": OTHER_ART}[name]
        scale = max(painting.shape[:2]) / max(photo.shape[:2])
        options = replace(OPTIONS, iterations=iterations, style_scale=scale)
        return list(gatys(photo, [painting], tiny_vgg(), options))[-1].pixels

    return render


def scores(render, **options):
    paintings = {"art": ART, "other": OTHER_ART}
    return list(evaluate(render, PHOTOS, paintings, tiny_vgg(), replace(OPTIONS, **options)))


def test_the_photo_itself_is_where_gatys_begins():
    for score in scores(lambda name, photo: photo):
        # Gatys' method begins with grain on it, which the first iteration makes up for.
        assert score.content == 0 and max(score.iterations) <= 1 and score.median_iterations <= 1
        assert score.loss == pytest.approx(5 * score.style_loss, rel=1e-6)


def test_gatys_after_k_iterations_is_caught_up_with_at_k():
    for score in scores(after(6)):
        # Pixels are cut to 0..1 in a finished picture, which costs a little.
        assert all(k is not None and 1 <= k <= 7 for k in score.iterations), score


def test_what_is_better_than_the_limit_allows_is_not_caught_up_with():
    for score in scores(after(12), iterations=2):
        assert score.iterations == [None, None] and np.isinf(score.median_iterations)


def test_gatys_may_be_left_out():
    first, second = scores(after(3), iterations=0)
    assert first.iterations == [None, None] and (first.style, second.style) == ("art", "other")
    assert 0 < first.content < 1 and first.style_loss > 0
