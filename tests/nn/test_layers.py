import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.errors import NanostyleError
from nanostyle.nn import layers, module, norms


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class Pair:
    def __init__(self, rng):
        self.conv1, self.conv2 = (layers.Conv2d(rng, 3, 4, 4, bias=False, norm=norms.InstanceNorm(4)) for _ in "ab")


class Net:
    def __init__(self, rng):
        self.first = layers.Conv2d(rng, 3, 3, 4, norm=norms.BatchNorm(4), relu=True)
        self.block = [Pair(rng) for _ in "ab"]
        self.config = {"width": np.ones(3)}
        self._cache = np.ones(3)


def test_names_follow_attributes_and_lists_in_order(rng):
    names = list(module.parameters(Net(rng)))
    assert names[:4] == ["first/weight", "first/bias", "first/norm/gamma", "first/norm/beta"]
    block = ["block1/conv1/weight", "block1/conv1/norm/gamma", "block1/conv1/norm/beta", "block1/conv2/weight"]
    assert names[4:8] == block
    assert names[-1] == "block2/conv2/norm/beta"
    assert list(module.buffers(Net(rng))) == ["first/norm/running_mean", "first/norm/running_variance"]


def test_the_same_seed_gives_the_same_weights_of_deviation_001():
    a, b = (layers.Conv2d(np.random.default_rng(3), 9, 16, 32) for _ in "ab")
    np.testing.assert_array_equal(a.weight.data, b.weight.data)
    assert a.weight.data.dtype == np.float32
    assert a.weight.data.std() == pytest.approx(0.01, rel=0.02)


def test_state_round_trip(rng):
    a, b = Net(rng), Net(rng)
    module.set_state(b, module.state(a))
    x = rng.random((1, 5, 6, 3), np.float32)
    np.testing.assert_array_equal(a.first(x).data, b.first(x).data)
    assert b.first.weight.data is a.first.weight.data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("first/bias"), r"lacks 'first/bias'"),
        (lambda s: s.update({"other": np.ones(1)}), r"unknown 'other'"),
        (lambda s: s.update({"first/bias": np.ones(5)}), r"'first/bias' has the shape \(5,\), expected \(4,\)"),
    ],
)
def test_a_foreign_state_is_refused_and_changes_nothing(rng, change, message):
    net = Net(rng)
    before = {name: value.copy() for name, value in module.state(net).items()}
    other = dict(module.state(Net(rng)))
    change(other)
    with pytest.raises(NanostyleError, match=message):
        module.set_state(net, other)
    for name, value in module.state(net).items():
        np.testing.assert_array_equal(value, before[name])


def test_freeze_asks_for_no_gradient(rng):
    net = Net(rng)
    module.freeze(net)
    assert not net.first(rng.random((1, 4, 4, 3), np.float32)).requires_grad


def test_statistics_of_the_epilogue_are_those_of_the_norm(rng):
    layer = layers.Conv2d(rng, 3, 3, 4, norm=norms.InstanceNorm(4))
    x = rng.random((2, 6, 7, 3), np.float32)
    y = layer(x).data
    np.testing.assert_allclose(y.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(1, 2)), 1, rtol=0.1)  # epsilon is seen where the weights are small


def test_relu_stands_after_the_norm_or_without_one_after_the_convolution(rng):
    x = rng.random((1, 6, 6, 3), np.float32)
    for norm in (None, norms.InstanceNorm(4), norms.BatchNorm(4)):
        y = layers.Conv2d(rng, 3, 3, 4, norm=norm, relu=True)(x, training=True).data
        assert y.min() == 0 < y.max()
        y = layers.ConvTranspose2d(rng, 3, 4, norm=norm, relu=True)(x, training=True).data
        assert y.shape == (1, 12, 12, 4)
        assert y.min() == 0 < y.max()


class Listed:
    def __init__(self, rng):
        self.ignored = np.ones(3)
        self._layers = [("a/b", layers.Conv2d(rng, 3, 2, 2, bias=False)), ("c", norms.BatchNorm(2))]

    def named_layers(self):
        return self._layers


def test_a_network_may_name_its_layers_itself(rng):
    net = Listed(rng)
    assert list(module.parameters(net)) == ["a/b/weight", "c/gamma", "c/beta"]
    assert list(module.buffers(net)) == ["c/running_mean", "c/running_variance"]
    mean = np.full(2, 7, np.float32)
    module.set_state(net, module.state(net) | {"c/running_mean": mean})
    assert net._layers[1][1].running_mean is mean


@pytest.mark.parametrize("norm", [norms.InstanceNorm, norms.BatchNorm])
@pytest.mark.parametrize(
    "make",
    [
        lambda rng, norm: layers.Conv2d(rng, 3, 4, 4, norm=norm, relu=True),
        lambda rng, norm: layers.ConvTranspose2d(rng, 4, 4, norm=norm, relu=True),
    ],
)
def test_what_is_given_as_residual_is_added_before_the_relu(rng, norm, make):
    layer = make(rng, norm(4))
    layer.norm.gamma.data[:] = 0
    x = rng.standard_normal((1, 6, 6, 4)).astype(np.float32)
    residual = rng.standard_normal(layer(x, training=True).shape).astype(np.float32)
    np.testing.assert_allclose(layer(x, residual, training=True).data, np.maximum(residual, 0), atol=1e-6)


def test_upsampling_convolution_and_stride(rng):
    x = rng.random((1, 5, 7, 3), np.float32)
    assert layers.Conv2d(rng, 3, 3, 2, upsample=2)(x).shape == (1, 10, 14, 2)
    assert layers.Conv2d(rng, 3, 3, 2, stride=2)(x).shape == (1, 3, 4, 2)


def test_batch_norm_learns_averages_in_training_and_uses_them_after(rng):
    norm = norms.BatchNorm(2)
    x = (rng.standard_normal((4, 8, 8, 2)) * [2, 3] + [5, -1]).astype(np.float32)
    for _ in range(100):
        norm(Tensor(x), relu=False, training=True)
    np.testing.assert_allclose(norm.running_mean, x.mean(axis=(0, 1, 2)), rtol=1e-3)
    np.testing.assert_allclose(norm.running_variance, x.var(axis=(0, 1, 2)), rtol=1e-3)
    before = norm.running_mean.copy()
    y = norm(Tensor(x), relu=False, training=False).data
    np.testing.assert_array_equal(norm.running_mean, before)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-2)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1, atol=1e-2)


def test_conditional_norm_by_number_by_mix_and_by_rows_agree(rng):
    norm = norms.ConditionalInstanceNorm(3, styles=4)
    norm.gamma.data[:] = rng.standard_normal((4, 3))
    norm.beta.data[:] = rng.standard_normal((4, 3))
    x = rng.random((2, 5, 5, 3), np.float32)
    chosen = np.array([3, 1])

    def of(style, layer=norm):
        with no_grad():
            return layer(x, relu=True, style=style, training=False).data

    rows = norm.gamma.data[chosen], norm.beta.data[chosen]
    np.testing.assert_allclose(of(np.eye(4)[chosen]), of(chosen), rtol=1e-6)
    np.testing.assert_array_equal(of(rows), of(chosen))
    np.testing.assert_array_equal(of(rows, norms.PredictedNorm(3)), of(chosen))


def test_gradients_reach_rows_that_are_tensors(rng):
    gamma, beta = (Tensor(rng.random((2, 3)), requires_grad=True) for _ in "gb")
    x = rng.random((2, 5, 5, 3))
    norms.PredictedNorm(3)(x, relu=False, style=(gamma, beta), training=False).backward(rng.random(x.shape))
    assert gamma.grad.shape == beta.grad.shape == (2, 3)


def test_a_linear_layer_starts_with_the_size_of_its_inputs_and_moves_as_fast_with_many_as_with_few():
    rng = np.random.default_rng(0)
    moved = []
    for C in (100, 2500):
        layer = layers.Linear(rng, C, 300, deviation=0.5)
        x = rng.standard_normal((8, C)).astype(np.float32)
        start = layer(x).data
        assert start.shape == (8, 300)
        assert start.std() == pytest.approx(0.5, rel=0.1)
        layer.weight.data += 1e-3 * rng.choice([-1, 1], layer.weight.shape).astype(np.float32)
        moved.append((layer(x).data - start).std())
    assert moved[0] == pytest.approx(moved[1], rel=0.1)
    assert moved[0] == pytest.approx(0.01, rel=0.1)
    assert set(module.parameters(layers.Linear(rng, 3, 2, bias=False))) == {"weight"}
