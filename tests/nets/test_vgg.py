"""The loss network against an independent implementation: the same features, losses and gradients in PyTorch."""

import h5py
import numpy as np
import pytest

from nanostyle.autograd.gradcheck import gradcheck
from nanostyle.autograd.ops import gram
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.dispatch import reference_only
from nanostyle.models.importers.vgg import convert
from nanostyle.models.loss_network import load_features, loss_network
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.losses import content_loss, style_loss
from tests.support.networks import CAFFE, REAL_VGG19, TORCH, needs_real_vgg19, tiny_vgg, vgg_parts


def picture(height=32, width=40, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).random((1, height, width, 3)).astype(dtype)


def in_torch(torch, config, parameters, x, dtype):
    """Every layer's output for the tensor x (N, 3, H, W) in 0..1, by torch alone, following the config's words."""
    pre = config["preprocess"]
    order = ["RGB".index(c) for c in pre["order"]]
    mean, std = (torch.tensor(pre[k], dtype=dtype)[:, None, None] for k in ("mean", "std"))
    x = (x[:, order] * pre["scale"] - mean) / std
    out = {}
    for name in config["layers"]:
        if name.startswith("conv"):
            w = torch.from_numpy(np.array(parameters[f"{name}/weight"])).to(dtype).permute(3, 2, 0, 1)
            b = torch.from_numpy(np.array(parameters[f"{name}/bias"])).to(dtype)
            mode = {"zero": "constant"}.get(config["padding"], config["padding"])
            x = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (1, 1, 1, 1), mode=mode), w, b)
        elif name.startswith("relu"):
            x = torch.relu(x)
        elif config["pooling"] == "max":
            x = torch.nn.functional.max_pool2d(x, 2)
        else:
            x = torch.nn.functional.avg_pool2d(x, 2)
        out[name] = x
    return out


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg19.h5"
    convert(REAL_VGG19, path)
    return load_features(path)


@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("pooling", ["max", "avg"])
@pytest.mark.parametrize("preprocess", [TORCH, CAFFE], ids=["torch", "caffe"])
def test_every_layer_equals_torch(padding, pooling, preprocess):
    torch = pytest.importorskip("torch")
    config, parameters = vgg_parts(preprocess=preprocess, padding=padding, pooling=pooling)
    x = picture(19, 22)
    ours = LossNetwork(config, parameters, dtype=np.float64).features(Tensor(x), config["layers"])
    theirs = in_torch(torch, config, parameters, torch.from_numpy(x).permute(0, 3, 1, 2), torch.float64)
    assert list(ours) == list(theirs)
    for name, feature in ours.items():
        assert relative(feature.data, theirs[name].permute(0, 2, 3, 1).numpy()) < 1e-12, name


@needs_real_vgg19
def test_real_vgg19_features_losses_and_gradient_equal_torch(real):
    """All nine convolution layers, content and style loss, and the gradient in the pixels, in float64."""
    torch = pytest.importorskip("torch")
    content, style, x = picture(48, 40, 1), picture(40, 48, 2), picture(48, 40, 3)
    style_layers = ["relu1_1", "relu2_1", "relu3_1", "relu4_1"]
    layers = [name for name in real.config["layers"] if name.startswith("relu")]
    assert len(layers) == 9

    def torch_side(dtype):
        def to(a):
            return torch.from_numpy(a).to(dtype).permute(0, 3, 1, 2)

        def G(f):
            flat = f.flatten(2)
            return flat @ flat.transpose(1, 2) / flat.shape[2]

        t = to(x).requires_grad_()
        F, P, S = (in_torch(torch, real.config, real.parameters, v, dtype) for v in (t, to(content), to(style)))
        loss_c = ((F["relu4_1"] - P["relu4_1"]) ** 2).sum() / (P["relu4_1"] ** 2).sum()
        loss_s = sum(((G(F[n]) - G(S[n])) ** 2).sum() / (G(S[n]) ** 2).sum() for n in style_layers)
        (loss_c + loss_s).backward()
        features = {n: F[n].detach().permute(0, 2, 3, 1).numpy() for n in layers}
        return features, loss_c.item(), loss_s.item(), t.grad.permute(0, 2, 3, 1).numpy()

    def our_side(dtype):
        network = LossNetwork(real.config, real.parameters, dtype=dtype)
        with no_grad():
            P = network.features(Tensor(content.astype(dtype)), ["relu4_1"])["relu4_1"].data
            S = {n: gram(f).data for n, f in network.features(Tensor(style.astype(dtype)), style_layers).items()}
        t = Tensor(x.astype(dtype), requires_grad=True)
        F = network.features(t, layers)
        loss_c = content_loss(F["relu4_1"], P)
        loss_s = sum((style_loss(gram(F[n]), S[n]) for n in style_layers), Tensor(np.zeros((), dtype)))
        (loss_c + loss_s).backward()
        return {n: F[n].data for n in layers}, loss_c.item(), loss_s.item(), t.grad

    exact = torch_side(torch.float64)
    features, loss_c, loss_s, gradient = our_side(np.float64)
    for name in layers:
        assert relative(features[name], exact[0][name]) < 1e-10, name
    assert abs(loss_c / exact[1] - 1) < 1e-10
    assert abs(loss_s / exact[2] - 1) < 1e-10
    assert relative(gradient, exact[3]) < 1e-10

    *_, gradient = our_side(np.float32)
    assert relative(gradient, exact[3]) < 2e-3
    with reference_only():  # without Winograd the decisions of ReLU and pooling fall as in float64
        *_, gradient = our_side(np.float32)
    assert relative(gradient, exact[3]) < 1e-5


def test_nothing_is_computed_beyond_the_deepest_layer():
    """A picture of 2x2 pixels suffices for the layers before the second pool."""
    network = tiny_vgg()
    features = network.features(Tensor(picture(2, 2, dtype=np.float32)), ["relu1_1", "relu2_2"])
    assert features["relu2_2"].shape == (1, 1, 1, 6)


def test_too_small_a_picture_is_named_with_the_layer():
    with pytest.raises(ValueError, match=r"picture: 5x3 pixels are too few for relu3_1, which needs at least 4x4"):
        tiny_vgg().features(Tensor(picture(3, 5, dtype=np.float32)), ["relu1_1", "relu3_1"])


def test_an_unknown_layer_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"no relu9_9; it has conv1_1, relu1_1"):
        tiny_vgg().features(Tensor(picture(dtype=np.float32)), ["relu9_9"])


def test_defaults_are_those_the_network_has():
    network = tiny_vgg()
    assert network.style_layers == ["relu1_1", "relu2_1", "relu3_1"]
    assert network.content_layers == ["relu3_1"]


def test_a_layer_with_a_map_is_compared_through_it_and_the_next_goes_on_without():
    config, parameters = vgg_parts()
    matrix = np.random.default_rng(3).standard_normal((6, 4))
    plain = LossNetwork(config, parameters, dtype=np.float64)
    network = LossNetwork(config, {**parameters, "relu2_1/map": matrix}, dtype=np.float64)
    x = picture(12, 10)
    before, found = (net.features(Tensor(x), ["relu2_1", "relu3_1"]) for net in (plain, network))
    for name in found:
        np.testing.assert_array_equal(found[name].data, before[name].data)
    assert network.mapped("relu3_1", found["relu3_1"]) is found["relu3_1"]
    mapped = network.mapped("relu2_1", found["relu2_1"])
    np.testing.assert_allclose(mapped.data, before["relu2_1"].data @ matrix, rtol=1e-12)
    np.testing.assert_allclose(network.gram("relu2_1", found["relu2_1"]).data, gram(mapped).data, rtol=1e-12)
    np.testing.assert_array_equal(network.gram("relu3_1", found["relu3_1"]).data, gram(before["relu3_1"]).data)
    for f in (network.gram, network.mapped):
        check = gradcheck(lambda x, f=f: f("relu2_1", network.features(x, ["relu2_1"])["relu2_1"]), [x])
        assert check.error < 1e-6


def test_weights_are_frozen():
    w, b = tiny_vgg().weights["conv1_1"]
    assert not w.flags.writeable and not b.flags.writeable


# --- VGG-16, full size, through its published names -------------------------------------------------------

VGG16_BLOCKS = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]


def vgg16_in_torch(torch, seed=0):
    """torchvision's VGG-16 `features`, random weights: module and names of its layers."""
    torch.manual_seed(seed)
    modules, names, width = [], [], 3
    for i, (C, convs) in enumerate(VGG16_BLOCKS, 1):
        for j in range(1, convs + 1):
            modules += [torch.nn.Conv2d(width, C, 3, padding=1), torch.nn.ReLU()]
            names += [f"conv{i}_{j}", f"relu{i}_{j}"]
            width = C
        modules.append(torch.nn.MaxPool2d(2))
        names.append(f"pool{i}")
    for module in modules:
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            torch.nn.init.normal_(module.bias, std=0.1)
    return torch.nn.Sequential(*modules).eval(), names


def keras_file(path, torch, module, form):
    """The same weights under Keras' names, HWIO."""
    convs = iter(m for m in module if isinstance(m, torch.nn.Conv2d))
    with h5py.File(path, "w") as file:
        for i, (_, count) in enumerate(VGG16_BLOCKS, 1):
            for j in range(1, count + 1):
                conv, layer = next(convs), f"block{i}_conv{j}"
                for value, old, new in (
                    (conv.weight.detach().numpy().transpose(2, 3, 1, 0), f"{layer}_W_1:0", f"{layer}/kernel:0"),
                    (conv.bias.detach().numpy(), f"{layer}_b_1:0", f"{layer}/bias:0"),
                ):
                    file[f"{layer}/{old if form == 'old' else new}"] = value


@pytest.mark.parametrize("form", ["torch", "torch legacy", "keras old", "keras new"])
def test_vgg16_from_its_published_names_equals_torch(form, tmp_path):
    torch = pytest.importorskip("torch")
    module, names = vgg16_in_torch(torch)
    if form.startswith("torch"):
        path, pre = tmp_path / "vgg16.pth", TORCH
        state = {f"features.{k}": v for k, v in module.state_dict().items()}
        # The classifier is not needed and not converted: a stand-in of its names.
        state |= {f"classifier.{i}.{part}": torch.zeros(1) for i in (0, 3, 6) for part in ("weight", "bias")}
        torch.save(state, path, _use_new_zipfile_serialization=form == "torch")
    else:
        path, pre = tmp_path / "vgg16.h5", CAFFE
        keras_file(path, torch, module, form.partition(" ")[2])
    convert(path, tmp_path / "out.h5")
    ours = loss_network(tmp_path / "out.h5", dtype=np.float64)

    x = picture(33, 40)
    features = ours.features(Tensor(x), [n for n in names if not n.startswith("conv")])
    order = ["RGB".index(c) for c in pre["order"]]
    t = torch.from_numpy((x[..., order] * pre["scale"] - pre["mean"]) / pre["std"]).permute(0, 3, 1, 2)
    with torch.no_grad():
        for name, layer in zip(names, module.double(), strict=True):
            t = layer(t)
            if name in features:
                assert relative(features[name].data, t.permute(0, 2, 3, 1).numpy()) < 1e-10, name
