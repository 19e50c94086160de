"""The report of a training."""

from nanostyle.training.objective import TERMS
from nanostyle.training.report import _COLORS


def test_each_term_of_a_loss_has_a_color_of_its_own():
    assert set(TERMS) < set(_COLORS)
    assert len(set(_COLORS.values())) == len(_COLORS)
