import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.nets.predictor import EMBEDDING, ConvBackbone, PredictionNet, StylePredictor, VggBackbone
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nn.module import freeze, parameters, set_state, state
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions
from tests.support import tiny
from tests.support.networks import tiny_vgg, vgg_parts


def pictures(count=2, height=32, width=32, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([tiny.picture(rng, height, width) for _ in range(count)])


def prediction_net(backbone=None, width=0.125, seed=0):
    rng = np.random.default_rng(seed)
    transformer = TransformerNet(transformer_config("ghiasi", width=width), rng)
    return PredictionNet(transformer, backbone or VggBackbone(*vgg_parts()), rng)


# --- the numbers of the paper -------------------------------------------------------------------------------


def test_the_paper_s_counts():
    net = prediction_net(ConvBackbone(np.random.default_rng(0)), width=1.0)
    embedding = net.predictor.embed(pictures(1))
    assert embedding.shape == (1, EMBEDDING) == (1, 100)
    rows = net.predictor.rows(embedding)
    assert sum(part.shape[1] for row in rows.values() for part in row) == 2758
    named = parameters(net)
    assert sum(named[f"predictor/{name}"].data.size for name in ("head/weight", "gamma", "beta")) == 278_558
    kernels = sum(p.data.size for name, p in named.items() if name.startswith("transformer") and "norm" not in name)
    assert kernels == 1_674_432
    # Batch norm stands in the first three layers and nowhere else.
    assert {name.split("/")[1] for name in named if "/norm/" in name and "backbone" not in name} == {
        "conv1",
        "conv2",
        "conv3",
    }


def test_rows_are_named_in_the_order_of_the_head():
    net = prediction_net()
    predictor = net.predictor
    channels = [C for _, C in net.transformer.styled_layers]
    predictor.head.weight.data = np.zeros_like(predictor.head.weight.data)
    predictor.gamma.data = np.arange(sum(channels), dtype=np.float32)
    predictor.beta.data = -predictor.gamma.data
    rows = predictor.rows(np.zeros((3, EMBEDDING), np.float32))
    assert list(rows) == [name for name, _ in net.transformer.styled_layers]
    for i, sign in enumerate((1, -1)):
        parts = [row[i].data for row in rows.values()]
        assert [part.shape for part in parts] == [(3, C) for C in channels]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), np.tile(sign * predictor.gamma.data, (3, 1)))


def test_gamma_and_beta_are_linear_in_the_embedding():
    predictor = prediction_net().predictor
    a, b = np.random.default_rng(0).standard_normal((2, 1, EMBEDDING)).astype(np.float32)
    for name, halfway in predictor.rows((a + b) / 2).items():
        for i, value in enumerate(halfway):
            ends = (predictor.rows(x)[name][i].data for x in (a, b))
            np.testing.assert_allclose(value.data, sum(ends) / 2, atol=1e-6)


def test_at_the_start_gamma_is_about_1_and_beta_about_0():
    net = prediction_net()
    for gamma, beta in net.predictor.rows(net.predictor.embed(pictures())).values():
        assert np.abs(gamma.data - 1).max() < 0.5
        assert np.abs(beta.data).max() < 0.5


# --- what is computed ---------------------------------------------------------------------------------------


def test_an_embedding_is_linear_in_the_roots_of_the_statistics():
    config, weights = vgg_parts(channels=(4, 6), convs=2)
    predictor = StylePredictor(VggBackbone(config, weights), [("output", 3)], np.random.default_rng(0))
    x = pictures()
    predictor.calibrate([p[None] for p in pictures(6, seed=1)])
    features = tiny_vgg(channels=(4, 6), convs=2).features(Tensor(x), ["relu1_1", "relu2_1"])
    statistics = [
        part for f in features.values() for part in (f.data.mean(axis=(1, 2)), np.sqrt(f.data.var(axis=(1, 2)) + 1e-5))
    ]
    roots = np.sqrt(np.concatenate(statistics, axis=1) + 1e-4)
    expected = (roots - predictor.center) / predictor.spread @ predictor.bottleneck.weight.data * 10 / np.sqrt(20)
    np.testing.assert_allclose(predictor.embed(x).data, expected, rtol=1e-3, atol=1e-4)


def test_each_picture_has_its_own_embedding():
    net = prediction_net()
    x = pictures(3)
    together = net.predictor.embed(x).data
    for i in range(3):
        np.testing.assert_allclose(net.predictor.embed(x[i : i + 1]).data[0], together[i], rtol=1e-4, atol=1e-5)


def test_calibration_brings_statistics_to_mean_0_and_deviation_1():
    predictor = prediction_net().predictor
    paintings = [p[None] for p in pictures(12, seed=3)]
    predictor.calibrate(paintings)
    assert predictor.center.dtype == predictor.spread.dtype == np.float32
    values = np.concatenate([(predictor._statistics(p).data - predictor.center) / predictor.spread for p in paintings])
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)
    deviation = values.std(axis=0)
    assert deviation.max() < 1.001
    assert np.median(deviation) == pytest.approx(1, abs=1e-3)


def test_the_backbone_has_no_layers_below_its_last_statistics():
    backbone = VggBackbone(*vgg_parts(channels=(4, 6, 8, 10, 12)))
    assert backbone.config["layers"][-1] == "relu4_1"
    assert backbone.width == 2 * (4 + 6 + 8 + 10)
    assert backbone(pictures()).shape == (2, backbone.width)
    assert ConvBackbone(np.random.default_rng(0))(pictures()).shape == (2, ConvBackbone.width)


def test_a_backbone_reads_its_layers_without_maps():
    config, weights = vgg_parts()
    mapped = VggBackbone(config, {**weights, "relu2_1/map": -np.ones((6, 6), np.float32)})
    np.testing.assert_array_equal(mapped(pictures()).data, VggBackbone(config, weights)(pictures()).data)


def test_a_backbone_is_made_again_from_its_config_and_parameters():
    caffe = {"order": "BGR", "scale": 255.0, "mean": [103.9, 116.8, 123.7], "std": [58.0, 57.0, 57.5]}
    first = VggBackbone(*vgg_parts(preprocess=caffe, padding="reflect", pooling="avg"))
    again = VggBackbone(first.config, state(first))
    np.testing.assert_array_equal(again(pictures()).data, first(pictures()).data)
    assert again.config == first.config


def test_a_network_without_the_layers_is_refused():
    config, weights = vgg_parts(channels=(4,))
    for name in ("conv1_1", "relu1_1"):
        with pytest.raises(ValueError, match=f"expected a network with relu1_1, .* got one with {name}$"):
            VggBackbone({**config, "layers": [name]}, weights)


def test_changed_weights_are_used():
    net = prediction_net()
    before = net.predictor.embed(pictures()).data
    set_state(net, {k: v * 1.5 if "backbone/conv1_1" in k else v for k, v in state(net).items()})
    assert np.abs(net.predictor.embed(pictures()).data - before).max() > 1e-3


def test_a_frozen_backbone_leaves_no_record():
    net = prediction_net()
    freeze(net.predictor.backbone)
    assert not net.predictor.backbone(pictures()).requires_grad
    net(pictures(), net.predictor.embed(pictures())).backward(np.ones((2, 32, 32, 3), np.float32))
    for name, p in parameters(net).items():
        assert (p.grad is None) == ("backbone" in name), name


@pytest.mark.parametrize("size", [(8, 8), (13, 30), (65, 9)])
def test_any_size_of_photo_and_painting(size):
    net = prediction_net()
    with no_grad():
        y = net(pictures(1, *size), net.predictor.embed(pictures(1, 41, 19)))
    assert y.shape == (1, *size, 3)
    assert ((y.data > 0) & (y.data < 1)).all()


# --- the gradient -------------------------------------------------------------------------------------------


def to_float64(net):
    """Double precision, and weights as large as after some training."""
    for name, p in parameters(net).items():
        p.data = p.data.astype(np.float64) * (10 if p.data.ndim == 4 and "backbone/conv1_1" not in name else 1)
    predictor = net.predictor
    predictor.center, predictor.spread = (x.astype(np.float64) for x in (predictor.center, predictor.spread))
    return net


@pytest.mark.parametrize("kind", ["vgg", "conv"])
def test_the_gradient_of_the_whole_chain(kind):
    """Painting -> backbone -> embedding -> gamma, beta -> picture -> loss network -> losses, in float64."""
    rng = np.random.default_rng(5)
    backbone = VggBackbone(*vgg_parts(pooling="avg")) if kind == "vgg" else ConvBackbone(rng)
    net = to_float64(prediction_net(backbone))
    photos, paintings = (pictures(2, 16, 16, seed=s).astype(np.float64) for s in (1, 2))
    objective = Objective(tiny.loss_network(np.float64, pooling="avg"), TrainOptions(tv_weight=0.1, **tiny.LAYERS))
    targets = objective.grams(paintings)

    def loss():
        y = net(Tensor(photos), net.predictor.embed(Tensor(paintings), training=True), training=True)
        return objective.losses(y, photos, targets, np.array([1.0, 0.0]))[0]

    loss().backward()
    named = parameters(net)
    assert all(p.grad is not None and p.grad.dtype == np.float64 for p in named.values())
    # Each part of the chain along a direction of its own: a sum over all would hide what is small.
    for part in ("transformer", "predictor/backbone", "predictor/bottleneck", "predictor/head", "predictor/gamma"):
        chosen = [p for name, p in named.items() if name.startswith(part)]
        directions = [rng.standard_normal(p.shape) for p in chosen]
        analytic = sum(float(np.vdot(p.grad, d)) for p, d in zip(chosen, directions, strict=True))
        numeric = [slope(loss, chosen, directions, step) for step in (1e-6, 1e-7, 1e-8)]
        # Among so many ReLUs a long step may switch one, and a short one loses digits: the best of three counts.
        assert min(abs(n - analytic) for n in numeric) / abs(analytic) < 1e-6, part


def slope(loss, leaves, directions, step):
    """d(loss) along `directions`, by finite differences."""
    start = [p.data for p in leaves]

    def at(t):
        for p, x, d in zip(leaves, start, directions, strict=True):
            p.data = x + t * d
        return loss().item()

    difference = (at(step) - at(-step)) / (2 * step)
    at(0)
    return difference
