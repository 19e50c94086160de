import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanostyle.io.contact_sheet import scatter
from nanostyle.io.image_write import thumbnail_jpeg
from nanostyle.methods.style_map import CELL, predicted_vectors, row_vectors, style_map
from nanostyle.models.multistyle import Model
from nanostyle.models.style import Style
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nn.module import parameters
from tests.support import tiny
from tests.support.cases import quick


def clusters(per_group=5, D=100, seed=0):
    """Three groups far apart in a space of many dimensions, and what group each vector is of."""
    rng = np.random.default_rng(seed)
    centers = 5 * rng.standard_normal((3, D))
    groups = [letter for letter in "abc" for _ in range(per_group)]
    vectors = np.repeat(centers, per_group, axis=0) + rng.standard_normal((3 * per_group, D))
    return vectors.astype(np.float32), groups


def test_clusters_stay_clusters():
    vectors, groups = clusters()
    made = style_map(vectors, groups)
    assert made.share > 0.8
    for i, group in enumerate(groups):
        assert [name for name, _ in made.nearest(i, 4)] == [group] * 4
        to_others = np.linalg.norm(made.positions - made.positions[i], axis=1)
        same = np.array(groups) == group
        assert to_others[same].max() < to_others[~same].min()
    assert made.kinship(groups) < 0.5
    mixed = np.random.default_rng(1).permutation(groups)
    assert made.kinship(list(mixed)) > 0.8


def test_positions_are_principal_components():
    rng = np.random.default_rng(2)
    axes = np.linalg.qr(rng.standard_normal((6, 6)))[0][:2]
    plane = rng.standard_normal((20, 2)) * [9, 2]
    made = style_map(plane @ axes + 7, [str(i) for i in range(20)])
    assert made.share == pytest.approx(1)
    # In a plane nothing is lost: all distances are as they were.
    flat = np.linalg.norm(made.positions[:, None] - made.positions, axis=2)
    np.testing.assert_allclose(flat, made.distances, atol=1e-9)
    assert made.positions[:, 0].std() > made.positions[:, 1].std()


def test_the_map_does_not_depend_on_the_order_or_the_run():
    vectors, groups = clusters()
    order = np.random.default_rng(3).permutation(len(groups))
    a, b = style_map(vectors, groups), style_map(vectors[order], [groups[i] for i in order])
    np.testing.assert_allclose(b.positions, a.positions[order], atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_styles_or_equal_ones(count):
    rng = np.random.default_rng(0)
    for vectors in (np.ones((count, 5)), rng.standard_normal((count, 5)), rng.standard_normal((count, 1))):
        made = style_map(vectors, ["x"] * count)
        assert made.positions.shape == (count, 2)
        assert np.isfinite(made.positions).all()
        assert len(made.nearest(0)) == count - 1
        assert made.draw([np.zeros((9, 9, 3))] * count, cell=20, side=120).shape == (120, 120, 3)


@pytest.mark.parametrize(
    ("vectors", "names", "message"),
    [
        (np.zeros((0, 5)), [], r"expected vectors \(n, D\) and n names, got \(0, 5\)"),
        (np.zeros((2, 5)), ["a"], "got .2, 5. and 1 names"),
        (np.array([[0.0, np.nan]]), ["a"], "NaN or infinity"),
    ],
)
def test_what_is_no_set_of_styles_is_refused(vectors, names, message):
    with pytest.raises(ValueError, match=message):
        style_map(vectors, names)


def test_kinship_needs_groups():
    made = style_map(*clusters())
    for groups in (["a"] * 15, [str(i) for i in range(15)]):
        with pytest.raises(ValueError, match="two styles of one group and two of different ones"):
            made.kinship(groups)


def test_the_rows_of_a_model_of_many_styles():
    config = transformer_config("dumoulin", width=0.125, styles=4, identity=True)
    net = TransformerNet(config, np.random.default_rng(0))
    for p in parameters(net).values():
        if p.shape[0] == 4 and p.data.ndim == 2:
            p.data = p.data + np.arange(4, dtype=np.float32)[:, None]
    photo = tiny.picture(np.random.default_rng(0), 20, 30)
    model = Model(net, ["photo", "a", "b", "c"], {"b": thumbnail_jpeg(photo)})
    vectors, names, thumbnails = row_vectors(model)
    assert names == ["a", "b", "c"]
    assert vectors.shape == (3, 2 * sum(C for _, C in net.styled_layers))
    assert [None if t is None else t.shape for t in thumbnails] == [None, (20, 30, 3), None]
    made = style_map(vectors, names)
    assert [name for name, _ in made.nearest(0)] == ["b", "c"]
    assert made.draw(thumbnails).shape == (1200, 1200, 3)


def test_a_model_of_one_style_has_no_map():
    net = TransformerNet(transformer_config("johnson", width=0.125), np.random.default_rng(0))
    with pytest.raises(ValueError, match="a model of one style"):
        row_vectors(Model(net, ["wave"]))


def test_embeddings_as_vectors():
    styles = [Style(name, np.full(100, i, np.float32), "0") for i, name in enumerate("ab")]
    assert predicted_vectors(styles).shape == (2, 100)


# --- the drawing --------------------------------------------------------------------------------------------


def places(drawn, colors):
    """The middle of each color's pixels: (right, down)."""
    found = []
    for color in colors:
        ys, xs = np.nonzero((np.abs(drawn - np.asarray(color, np.float32)) < 1e-3).all(axis=2))
        found.append((xs.mean(), ys.mean(), len(xs)))
    return found


def test_pictures_stand_where_they_should_and_are_whole():
    colors = [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    pictures = [np.tile(np.asarray(c, np.float32), (10, 10, 1)) for c in colors]
    positions = np.array([[0, 0], [10, 0], [10, 10.0]])
    drawn = scatter(pictures, positions, captions=["", "", ""], cell=40, side=400)
    (ax, ay, an), (bx, by, bn), (cx, cy, cn) = places(drawn, colors)
    assert an == bn == cn == 1600
    assert ax < 80 and ay < 80
    assert bx > 320 and by == pytest.approx(ay, abs=2)
    assert cx == pytest.approx(bx, abs=2) and cy > 320 - 40


@quick
@given(seed=st.integers(0, 1000), count=st.integers(2, 12))
def test_pictures_do_not_cover_one_another(seed, count):
    rng = np.random.default_rng(seed)
    colors = [(i / 20, 0.3, 0.7) for i in range(count)]
    pictures = [np.tile(np.asarray(c, np.float32), (8, 8, 1)) for c in colors]
    positions = np.round(rng.standard_normal((count, 2)), 1) * rng.choice([0, 0.1, 1])
    drawn = scatter(pictures, positions, captions=["i"] * count, cell=30, side=480)
    assert [n for _, _, n in places(drawn, colors)] == [900] * count


def test_captions_are_written():
    blank = scatter([None], np.zeros((1, 2)), captions=[""], cell=60, side=240)
    assert (blank == 1).all()
    assert scatter([None], np.zeros((1, 2)), captions=["starry night"], cell=60, side=240).min() < 0.3


def test_a_map_needs_room_and_one_position_each():
    with pytest.raises(ValueError, match=r"a side of .* pixels or more"):
        scatter([None], np.zeros((1, 2)), captions=["a"], cell=100, side=120)
    with pytest.raises(ValueError, match="a position and a caption for each of 1 pictures"):
        scatter([None], np.zeros((2, 2)), captions=["a"])


def test_a_map_of_many_has_room_for_all(tmp_path):
    """No thumbnail covers another one, however alike the styles are."""
    n = 120
    positions = np.random.default_rng(0).standard_normal((n, 2))
    found = style_map(positions, [str(i) for i in range(n)])
    colors = [np.full((CELL, CELL, 3), (i + 1) / (n + 1), np.float32) for i in range(n)]
    drawn = found.draw(colors)
    levels, counts = np.unique(drawn[..., 0].round(4), return_counts=True)
    whole = {round((i + 1) / (n + 1), 4) for i in range(n)}
    covered = [count for level, count in zip(levels, counts, strict=True) if round(float(level), 4) in whole]
    assert len(covered) == n and min(covered) > 0.95 * CELL**2
