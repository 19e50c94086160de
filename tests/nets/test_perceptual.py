"""The perceptual loss against its formula, its gradient, and what it says of numbers that are none."""

import numpy as np
import pytest

from nanostyle.autograd.gradcheck import gradcheck
from nanostyle.autograd.tensor import Tensor
from nanostyle.nets.perceptual import PerceptualLoss, PixelObjective, StyleTarget, layer_weights
from tests.support import reference
from tests.support.networks import tiny_vgg
from tests.support.pictures import ART, OTHER_ART, PHOTO

MADE = {"photo": PHOTO, "art": ART, "other": OTHER_ART}
WIDE = {name: p[None, :11, :13].astype(np.float64) for name, p in MADE.items()}
LAYERS = {"content_layers": ["relu2_1", "relu3_1=3"], "style_layers": ["relu1_1=3", "conv2_2"]}


def network():
    return tiny_vgg(dtype=np.float64, pooling="avg")


def half(layer_size):
    """A guide of the left half, of mean square 1."""
    guide = np.zeros((1, *layer_size, 1))
    guide[:, :, : layer_size[1] // 2] = 1
    return guide / np.sqrt((guide**2).mean())


def targets(loss):
    """Two styles, the second in the left half only."""
    guides = {name: half(loss.network.size(name, 11, 13)) for name in loss.style_layers}
    return [StyleTarget(loss.grams(WIDE["art"]), 0.25), StyleTarget(loss.grams(WIDE["other"]), 0.75, guides)]


@pytest.mark.parametrize("scale", ["relative", "paper"])
def test_it_is_the_sum_over_layers_and_styles(scale):
    net = network()
    loss = PerceptualLoss(net, **LAYERS, content_weight=2, style_weight=5, tv_weight=0.5, scale=scale)
    styles = targets(loss)
    x = np.random.default_rng(0).random((1, 11, 13, 3))
    objective = PixelObjective(loss, WIDE["photo"], styles)
    values, _ = objective(x)

    seen, aimed = ({k: f.data for k, f in net.features(Tensor(p), loss.layers).items()} for p in (x, WIDE["photo"]))
    content = sum(w * reference.content_loss(seen[k], aimed[k], scale=scale) for k, w in loss.content_layers.items())
    style = 0.0
    for k, w in loss.style_layers.items():
        for target in styles:
            G = reference.gram(seen[k] * target.guides.get(k, 1))
            style += w * target.share * reference.style_loss(G, target.grams[k], scale=scale)
    expected = {"content": 2 * content, "style": 5 * style, "tv": 0.5 * reference.total_variation(x)}
    assert objective.terms(values) == pytest.approx(expected, rel=1e-9)
    assert values[-1] == pytest.approx(sum(expected.values()), rel=1e-9)
    assert {term: t.item() for term, t in loss.terms(Tensor(x), loss.content(WIDE["photo"]), styles).items()} == (
        pytest.approx({"content": content, "style": style}, rel=1e-9)
    )


def test_its_gradient_is_that_of_the_pixels():
    loss = PerceptualLoss(network(), **LAYERS, style_weight=3, tv_weight=0.5)
    objective = PixelObjective(loss, WIDE["photo"], targets(loss))
    x = np.random.default_rng(0).random((1, 11, 13, 3))
    _, gradient = objective(x)
    direction = np.random.default_rng(1).standard_normal(x.shape)
    ahead, behind = (objective(x + step * direction)[0][-1] for step in (1e-6, -1e-6))
    assert (ahead - behind) / 2e-6 == pytest.approx(float(np.vdot(gradient, direction)), rel=1e-5)

    def total(y):
        terms = loss.terms(y, objective.content, objective.styles)
        return terms["content"] + terms["style"] * 3

    check = gradcheck(total, [x], step=1e-7)
    assert check.error < 1e-6, check


def test_the_style_of_each_picture_of_a_batch_has_its_weight():
    loss = PerceptualLoss(network())
    batch = np.concatenate([WIDE["photo"], WIDE["art"]])
    grams = loss.grams(np.concatenate([WIDE["other"], WIDE["other"]]))
    y, content = Tensor(batch), loss.content(batch)
    both = loss.terms(y, content, [StyleTarget(grams)])
    first, second = (
        loss.terms(y, content, [StyleTarget(grams)], np.array(weight)) for weight in ([1.0, 0.0], [0.0, 1.0])
    )
    assert first["style"].item() + second["style"].item() == pytest.approx(both["style"].item())
    assert first["style"].item() != pytest.approx(second["style"].item())
    assert both["content"].item() == first["content"].item() == 0


def test_weights_of_layers_are_parts_of_one():
    assert layer_weights(["a", "b=3"]) == {"a": 0.25, "b": 0.75}
    net = network()
    loss = PerceptualLoss(net)
    assert list(loss.style_layers) == net.style_layers and list(loss.content_layers) == net.content_layers
    assert sum(loss.style_layers.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["a", "a"], "each layer once"),
        (["a=x"], "as NAME or NAME=WEIGHT above 0, got 'a=x'"),
        (["a=0"], "above 0"),
        (["a=inf"], "above 0"),
        ([], "at least one layer, got none"),
    ],
)
def test_layers_that_are_none(layers, message):
    with pytest.raises(ValueError, match=message):
        layer_weights(layers)


def test_a_layer_that_the_network_lacks():
    with pytest.raises(ValueError, match="no relu7_1; it has"):
        PerceptualLoss(network(), style_layers=["relu7_1"])


def test_the_first_layer_of_the_network_that_is_not_finite_is_named():
    net = network()
    # The order of the options is not that of the network.
    loss = PerceptualLoss(net, content_layers=["relu3_1"], style_layers=["relu2_1", "relu1_1"], tv_weight=1)
    objective = PixelObjective(loss, WIDE["photo"], [StyleTarget(loss.grams(WIDE["art"]))])
    values, _ = objective(WIDE["photo"] + 0.1)
    assert objective.places == [("content", "relu3_1"), ("style", "relu2_1"), ("style", "relu1_1"), ("tv", "pixels")]
    assert objective.first_not_finite(values) is None
    for bad, name in (([0, 1], "relu2_1"), ([0, 1, 2], "relu1_1"), ([3], "pixels"), ([0], "relu3_1")):
        spoiled = values.copy()
        spoiled[bad] = np.nan
        assert objective.first_not_finite(spoiled) == name
