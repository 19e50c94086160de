import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nn.module import buffers, parameters
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions
from tests.support import tiny


def network(arch, seed=0, **options):
    return TransformerNet(transformer_config(arch, **options), np.random.default_rng(seed))


def count(net):
    return sum(parameter.data.size for parameter in parameters(net).values())


# --- the papers' numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("upsample", ["fractional", "nearest"])
def test_johnson_has_1679235_parameters(norm, upsample):
    assert count(network("johnson", norm=norm, upsample=upsample)) == 1_679_235


@pytest.mark.parametrize("styles", [1, 10])
def test_dumoulin_has_1674432_parameters_and_3206_per_style(styles):
    net = network("dumoulin", styles=styles)
    assert count(net) == 1_674_432 + 3_206 * styles
    assert 2 * sum(channels for _, channels in net.styled_layers) == 3_206


def test_ghiasi_predicts_2758_numbers():
    net = network("ghiasi")
    assert 2 * sum(channels for _, channels in net.styled_layers) == 2_758
    names = [name for name, _ in net.styled_layers]
    assert names[:2] == ["residual1/conv1", "residual1/conv2"]
    assert names[-3:] == ["up1", "up2", "output"]
    assert count(net) == 1_674_432 + 2 * (32 + 64 + 128)  # the batch norms of the first three layers
    assert len(buffers(net)) == 6


def test_names_are_those_of_the_model_file():
    names = list(parameters(network("dumoulin", width=0.25)))
    assert names[0] == "conv1/weight"
    assert "residual1/conv1/weight" in names
    assert "residual5/conv2/norm/gamma" in names
    assert names[-1] == "output/norm/beta"


def test_width_scales_channels_but_not_the_colors():
    shapes = {name: p.shape for name, p in parameters(network("johnson", width=0.25)).items()}
    assert shapes["conv1/weight"] == (9, 9, 3, 8)
    assert shapes["residual3/conv2/weight"] == (3, 3, 32, 32)
    assert shapes["output/weight"] == (9, 9, 8, 3)


# --- pictures -----------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(
    H=st.integers(1, 21),
    W=st.integers(1, 21),
    arch=st.sampled_from([("johnson", "fractional"), ("johnson", "nearest"), ("dumoulin", "nearest")]),
)
def test_any_size_in_same_size_out(H, W, arch):
    net = network(arch[0], upsample=arch[1], width=0.125)
    x = np.random.default_rng(1).random((1, H, W, 3), np.float32)
    with no_grad():
        y = net(x, np.array([0]) if net.styled_layers else None).data
    assert y.shape == x.shape
    assert 0 <= y.min() <= y.max() <= 1


def test_what_is_padded_at_the_border_is_cropped_again():
    """A picture whose sides 4 divides comes out as itself; one cut from it is mirrored, not filled with black."""
    net = network("dumoulin", width=0.125)
    x = np.full((1, 17, 18, 3), 0.5, np.float32)
    with no_grad():
        y = net(x, np.array([0])).data
    assert np.ptp(y, axis=(1, 2)).max() < 1e-3  # a flat picture stays flat, borders included


def test_styles_by_number_by_mix_and_by_rows_agree():
    rng = np.random.default_rng(5)
    net = network("dumoulin", width=0.125, styles=3)
    for name, parameter in parameters(net).items():
        if "/norm/" in name:
            parameter.data += rng.standard_normal(parameter.shape).astype(np.float32)
    x = rng.random((2, 12, 12, 3), np.float32)
    chosen = np.array([2, 0])
    named = parameters(net)
    rows = {
        name: (named[f"{name}/norm/gamma"].data[chosen], named[f"{name}/norm/beta"].data[chosen])
        for name, _ in net.styled_layers
    }
    with no_grad():
        by_number, by_mix, by_rows = (net(x, style).data for style in (chosen, np.eye(3)[chosen], rows))
        other = net(x, np.array([1, 1])).data
    np.testing.assert_allclose(by_mix, by_number, atol=1e-5)
    np.testing.assert_array_equal(by_rows, by_number)
    assert np.abs(other - by_number).max() > 0.01


def test_a_blend_is_what_a_mix_of_all_styles_is_and_heeds_no_other_row():
    rng = np.random.default_rng(5)
    x = rng.random((1, 12, 13, 3), np.float32)
    net = network("dumoulin", width=0.125, styles=4, identity=True)
    for name, parameter in parameters(net).items():
        if "/norm/" in name:
            parameter.data += rng.standard_normal(parameter.shape).astype(np.float32)
    with no_grad():
        mixed = net(x, np.array([[0.3, 0, 0.7, 0]])).data
        blended = net(x, net.blend({2: 0.7, 0: 0.3}, x)).data
        np.testing.assert_allclose(blended, mixed, atol=1e-5)
        np.testing.assert_array_equal(net(x, net.blend({1: 1.0}, x)).data, net(x, np.array([1])).data)
        for name, parameter in parameters(net).items():
            if "/norm/" in name:
                parameter.data[[1, 3]] = np.nan
        np.testing.assert_array_equal(net(x, net.blend({2: 0.7, 0: 0.3}, x)).data, blended)


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.2), (0.2, 0.9), (0.7, 0.8)])
def test_the_photos_own_style_keeps_its_brightness_and_contrast(low, high):
    """Before a step of training, whatever the network draws."""
    net = network("dumoulin", width=0.25, styles=2, identity=True)
    x = low + (high - low) * np.random.default_rng(0).random((2, 16, 16, 3), np.float32)
    with no_grad():
        y = net(x, np.array([0, 1])).data
    np.testing.assert_allclose(y[0].mean(axis=(0, 1)), x[0].mean(axis=(0, 1)), atol=0.03)
    np.testing.assert_allclose(y[0].std(axis=(0, 1)), x[0].std(axis=(0, 1)), rtol=0.15)
    assert np.abs(y[1].mean() - 0.5) < 0.1


def test_a_picture_does_not_depend_on_its_batch():
    net = network("dumoulin", width=0.125, styles=2)
    x = np.random.default_rng(5).random((3, 12, 16, 3), np.float32)
    with no_grad():
        together = net(x, np.array([0, 1, 1])).data
        alone = net(x[1:2], np.array([1])).data
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"arch": "vgg"}, "arch: expected johnson, lengstrom, dumoulin, ghiasi, got 'vgg'"),
        (
            {"arch": "johnson", "norm": "conditional"},
            "norm: johnson networks have instance or batch, got 'conditional'",
        ),
        ({"arch": "dumoulin", "upsample": "fractional"}, "upsample: dumoulin networks have nearest"),
        ({"arch": "johnson", "width": float("nan")}, "width: expected a number from 0.05 to 2, got nan"),
        ({"arch": "johnson", "width": 1e9}, "width"),
        ({"arch": "dumoulin", "styles": 0}, "styles: expected a whole number from 1 to 10000, got 0"),
        ({"arch": "dumoulin", "styles": 10**12}, "styles"),
        (
            {"arch": "dumoulin", "styles": 1, "identity": True},
            "styles: expected 2 or more beside the photo's own, got 1",
        ),
    ],
)
def test_a_config_that_is_none_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        transformer_config(**config)


def test_a_network_of_styles_wants_one():
    with pytest.raises(ValueError, match="style: this network has several styles and none was given"):
        network("dumoulin", width=0.125)(np.zeros((1, 8, 8, 3), np.float32))


# --- gradients, from the loss to every parameter ------------------------------------------------------------

CASES = {
    "johnson": {"arch": "johnson", "upsample": "fractional"},
    "johnson with batch norm": {"arch": "johnson", "norm": "batch", "upsample": "nearest"},
    "dumoulin": {"arch": "dumoulin", "styles": 3},
    "dumoulin with the photo's style": {"arch": "dumoulin", "styles": 3, "identity": True},
}


def problem(case, pooling="max"):
    """A network, and the function from it to the loss of a batch whose size asks for padding and cropping."""
    net = tiny.to_float64(network(width=0.125, **CASES[case]))
    rng = np.random.default_rng(3)
    photos = np.stack([tiny.picture(rng, 18, 15) for _ in range(2)]).astype(np.float64)
    options = TrainOptions(**tiny.LAYERS, tv_weight=0.5, grid_weight=7)
    objective = Objective(tiny.loss_network(np.float64, pooling), options)
    targets = objective.grams(np.stack([tiny.picture(rng, 16, 16) for _ in range(2)]).astype(np.float64))
    rows = np.array([0, 2]) if net.styled_layers else None
    weight = np.array([0.0, 1.5]) if net.styled_layers else np.array([1.0, 1.0])  # one picture is to stay itself

    def loss():
        return objective.losses(net(Tensor(photos), rows, training=True), photos, targets, weight)[0]

    return net, loss, photos, targets, rows, weight, options


@pytest.mark.parametrize("case", CASES)
def test_gradients_agree_with_finite_differences(case):
    net, loss, *_ = problem(case, pooling="avg")
    named = parameters(net)
    loss().backward()
    rng = np.random.default_rng(1)
    start = {name: p.data for name, p in named.items()}
    direction = {name: rng.standard_normal(p.shape) for name, p in named.items()}
    # What has no gradient, a bias that a norm takes out again, is moved all the same: it makes no difference.
    analytic = sum(float(np.vdot(p.grad, direction[name])) for name, p in named.items() if p.requires_grad)

    def at(step):
        for name, p in named.items():
            p.data = start[name] + step * direction[name]
        return loss().item()

    step = 1e-9  # among so many ReLUs a longer one finds one that switches
    assert (at(step) - at(-step)) / (2 * step) == pytest.approx(analytic, rel=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_every_gradient_agrees_with_torch(case):
    torch = pytest.importorskip("torch")
    net, loss, photos, targets, rows, weight, options = problem(case)
    total = loss()
    total.backward()
    ours = {name: p.grad if p.requires_grad else 0.0 for name, p in parameters(net).items()}

    leaves = {name: torch.tensor(p.data, requires_grad=True) for name, p in parameters(net).items()}
    y = torch_transformer(torch, net.config, leaves, torch.tensor(photos), rows)
    expected = torch_loss(torch, y, torch.tensor(photos), targets, weight, options)
    expected.backward()

    assert total.item() == pytest.approx(expected.item(), rel=1e-12)
    largest = max(float(leaf.grad.abs().max()) for leaf in leaves.values())
    for name, leaf in leaves.items():
        theirs = leaf.grad.numpy()
        # A bias that a norm takes out again has a gradient of 0: there the difference itself must vanish.
        size = max(np.abs(theirs).max(), 1e-6 * largest)
        assert np.abs(ours[name] - theirs).max() / size < 1e-8, name


def torch_transformer(torch, config, p, x, rows):
    """The same network in PyTorch, written from the papers' tables."""
    F = torch.nn.functional
    H, W = x.shape[1:3]
    photo = (x.clip(0.02, 0.98) / (1 - x.clip(0.02, 0.98))).log()
    x = F.pad(x.permute(0, 3, 1, 2), (0, -W % 4, 0, -H % 4), mode="reflect")

    def normalized(x, name, relu, residual=None):
        if f"{name}/norm/gamma" in p:
            gamma, beta = p[f"{name}/norm/gamma"], p[f"{name}/norm/beta"]
            if config["norm"] == "batch":
                x = F.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5)
            elif config["norm"] == "instance":
                x = F.instance_norm(x, weight=gamma, bias=beta, eps=1e-5)
            else:
                gamma, beta = gamma[rows], beta[rows]
                if config["identity"] and name == "output":
                    own = torch.tensor(rows == 0)[:, None]
                    gamma = torch.where(own, photo.std(dim=(1, 2), correction=0), gamma)
                    beta = torch.where(own, photo.mean(dim=(1, 2)), beta)
                x = F.instance_norm(x, eps=1e-5) * gamma[..., None, None] + beta[..., None, None]
        x = x if residual is None else x + residual
        return F.relu(x) if relu else x

    def conv(x, name, *, stride=1, relu=True, residual=None):
        w = p[f"{name}/weight"].permute(3, 2, 0, 1)
        x = F.pad(x, (w.shape[2] // 2,) * 4, mode="reflect")
        return normalized(F.conv2d(x, w, p.get(f"{name}/bias"), stride=stride), name, relu, residual)

    def up(x, name):
        if config["upsample"] == "nearest":
            return conv(F.interpolate(x, scale_factor=2, mode="nearest"), name)
        w = p[f"{name}/weight"].permute(2, 3, 0, 1)
        x = F.conv_transpose2d(x, w, p[f"{name}/bias"], stride=2, padding=1, output_padding=1)
        return normalized(x, name, True)

    x = conv(conv(conv(x, "conv1"), "conv2", stride=2), "conv3", stride=2)
    for i in range(1, 6):
        x = conv(conv(x, f"residual{i}/conv1"), f"residual{i}/conv2", relu=False, residual=x)
    x = conv(up(up(x, "up1"), "up2"), "output", relu=False)
    x = torch.sigmoid(x) if config["arch"] == "dumoulin" else (torch.tanh(x) + 1) / 2
    return x[:, :, :H, :W].permute(0, 2, 3, 1)


def torch_loss(torch, y, photos, targets, weight, options):
    F = torch.nn.functional
    network = tiny.loss_network(np.float64)

    def features(x):
        out = {}
        x = (x - torch.tensor(network.mean)).permute(0, 3, 1, 2)
        for name in network.layers:
            if name.startswith("conv"):
                w, b = network.weights[name]
                x = F.conv2d(F.pad(x, (1,) * 4, mode="reflect"), torch.tensor(w).permute(3, 2, 0, 1), torch.tensor(b))
            elif name.startswith("relu"):
                x = out[name] = F.relu(x)
            else:
                x = F.max_pool2d(x, 2)
        return out

    def relative(a, b):
        return ((a - b) ** 2).flatten(1).sum(1) / (b**2).flatten(1).sum(1)

    def gram(f):
        return torch.einsum("nihw,njhw->nij", f, f) / (f.shape[2] * f.shape[3])

    weight = torch.tensor(weight)
    styled = (weight > 0).double()
    made, aim = features(y), features(photos)
    content = relative(made["relu2_1"], aim["relu2_1"]).mean()
    layers = [relative(gram(made[name]), torch.tensor(targets[name])) for name in ("relu1_1", "relu2_1")]
    style = (sum(layers) / 2 * weight).mean()
    painted = y * styled[:, None, None, None]
    tv = (painted.diff(dim=1) ** 2).sum() + (painted.diff(dim=2) ** 2).sum()
    photo = (((y - photos) ** 2).mean(dim=(1, 2, 3)) * (1 - styled)).mean()
    whole = y[:, : y.shape[1] // 4 * 4, : y.shape[2] // 4 * 4]
    places = torch.stack([whole[:, i::4, j::4].mean(dim=(1, 2)) for i in range(4) for j in range(4)])
    grid = places.var(dim=0, correction=0).mean()
    return (
        options.content_weight * content
        + options.style_weight * style
        + options.tv_weight * tv / y.numel()
        + options.grid_weight * grid
        + options.photo_weight * photo
    )
