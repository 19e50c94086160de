"""Contact sheets: every picture whole and in its place, gutters even, words inside."""

import numpy as np
import pytest

from nanostyle.io.contact_sheet import sheet

RED, GREEN, BLUE = np.eye(3, dtype=np.float32)


def flat(color, height=20, width=20):
    return np.broadcast_to(color, (height, width, 3)).astype(np.float32)


def spans(mask):
    """(start, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def is_color(pixels, color):
    return np.all(np.abs(pixels - color) < 0.01, axis=-1)


def test_grid_on_white_with_even_gutters():
    pixels = sheet([[flat(RED), flat(GREEN), flat(BLUE)], [flat(BLUE), None, flat(RED)]], cell=64)
    assert pixels.dtype == np.float32
    inked = ~is_color(pixels, 1)
    gap = 4
    assert spans(inked.any(axis=0)) == [(gap, gap + 64), (2 * gap + 64, 2 * gap + 128), (3 * gap + 128, 3 * gap + 192)]
    assert spans(inked.any(axis=1)) == [(gap, gap + 64), (2 * gap + 64, 2 * gap + 128)]
    assert pixels.shape == (3 * gap + 128, 4 * gap + 192, 3)
    assert is_color(pixels[gap : gap + 64, gap : gap + 64], RED).all()
    assert is_color(pixels[2 * gap + 64 : 2 * gap + 128, 2 * gap + 64 : 2 * gap + 128], 1).all()  # the empty place


def test_pictures_keep_their_proportions_and_stand_centered():
    pixels = sheet([[flat(RED, 40, 20)], [flat(GREEN, 20, 40)]], cell=64)
    red, green = is_color(pixels, RED), is_color(pixels, GREEN)
    assert (red.any(axis=1).sum(), red.any(axis=0).sum()) == (64, 32)
    assert (green.any(axis=1).sum(), green.any(axis=0).sum()) == (32, 64)
    assert red.any(axis=0).nonzero()[0].mean() == green.any(axis=0).nonzero()[0].mean()


def test_words_touch_neither_pictures_nor_edges():
    long = "a caption that is far too long for its place: Éèêgjpqy " * 5
    plain = {"rows": [[flat(RED), flat(GREEN)], [flat(BLUE), flat(RED)]], "cell": 64}
    labels = {"row_labels": [long, "b"], "column_labels": [long, "ÄÖÜ"], "captions": [[long, "x"], ["y", long]]}
    pixels = sheet(**plain, **labels)
    for color, area in ((RED, 2), (GREEN, 1), (BLUE, 1)):
        assert is_color(pixels, color).sum() == area * 64 * 64
    frame = np.ones(pixels.shape[:2], bool)
    frame[1:-1, 1:-1] = False
    assert is_color(pixels[frame], 1).all()
    dark = pixels.max(axis=-1) < 0.5
    top = spans(is_color(pixels, RED).any(axis=1))[0][0]
    left = spans(is_color(pixels, RED).any(axis=0))[0][0]
    assert dark[:top].any()  # column labels
    assert dark[:, :left].any()  # row labels
    assert dark[top + 64 :].any()  # captions


@pytest.mark.parametrize("kind", ["row_labels", "column_labels"])
def test_labels_change_nothing_but_the_margin(kind):
    rows = [[flat(RED), flat(GREEN)]]
    bare, labeled = sheet(rows, cell=64), sheet(rows, cell=64, **{kind: ["one"]})
    grown = np.array(labeled.shape) - bare.shape
    assert (grown[1] > 0, grown[0] > 0) == (kind == "row_labels", kind == "column_labels")


def test_accents_the_font_lacks_are_left_off():
    rows = [[flat(RED)]]
    np.testing.assert_array_equal(sheet(rows, captions=[["Zürich"]]), sheet(rows, captions=[["Zurich"]]))


def test_rows_of_different_lengths():
    pixels = sheet([[flat(RED)], [flat(GREEN), flat(BLUE), flat(RED)], []], cell=64)
    assert is_color(pixels, RED).sum() == 2 * 64 * 64


@pytest.mark.parametrize("rows", [[], [[]], [[None, None]]])
def test_a_sheet_of_nothing(rows):
    with pytest.raises(ValueError, match="at least one picture"):
        sheet(rows)
