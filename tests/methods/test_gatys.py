"""Gatys' method: it goes down, does what its options say, and stops well when things go wrong."""

from dataclasses import replace

import numpy as np
import pytest

from nanostyle import stylize
from nanostyle.autograd.gradcheck import gradcheck
from nanostyle.autograd.ops import gram, total_variation
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.methods.color_transfer import in_colors_of
from nanostyle.methods.gatys import Diverged, gatys, perceptual_loss
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.models.grain import DEVIATION, draw_grain
from nanostyle.models.importers.vgg import convert
from nanostyle.models.loss_network import loss_network
from nanostyle.nets.perceptual import PixelObjective, StyleTarget
from nanostyle.nn.losses import content_loss, style_loss
from tests.support.networks import REAL_VGG19, needs_real_vgg19, tiny_vgg
from tests.support.pictures import ART, OTHER_ART, PHOTO, picture

FEW = GatysOptions(iterations=15, content_weight=1.0, least_gain=0)


def last(**kwargs):
    return list(gatys(PHOTO, [ART], tiny_vgg(), replace(FEW, **kwargs)))[-1]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("init", ["content", "photo", "noise", "style"])
def test_the_loss_falls_and_the_picture_keeps_its_size(optimizer, init):
    steps = list(gatys(PHOTO, [ART], tiny_vgg(), replace(FEW, optimizer=optimizer, init=init)))
    assert [s.iteration for s in steps] == list(range(16)) and {s.iterations for s in steps} == {15}
    assert steps[-1].loss < 0.7 * steps[0].loss
    assert steps[-1].pixels.shape == PHOTO.shape and steps[-1].pixels.dtype == np.float32
    assert steps[-1].pixels.min() >= 0 and steps[-1].pixels.max() <= 1
    for s in steps:
        assert s.loss == pytest.approx(sum(s.terms.values()), rel=1e-5)


def test_starts_are_what_they_are_called():
    first = {init: next(gatys(PHOTO, [ART], tiny_vgg(), replace(FEW, init=init))).pixels for init in ("photo", "noise")}
    grain = draw_grain(PHOTO.shape[:2], DEVIATION, 0)
    np.testing.assert_allclose(first["photo"], np.clip(PHOTO + grain, 0, 1), atol=1e-6)
    start = next(gatys(PHOTO, [ART], tiny_vgg(), FEW)).pixels
    np.testing.assert_allclose(start, np.clip(in_colors_of(PHOTO, [ART], [1.0]) + grain, 0, 1), atol=1e-6)
    assert abs(first["noise"].mean() - 0.5) < 0.05
    with pytest.raises(ValueError, match="init: expected content, photo, noise or style, got 'black'"):
        last(init="black")


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    a, b, c = (last(init="noise", seed=s).pixels for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.01


def test_weights_do_what_they_say():
    def style_error(pixels):
        network = tiny_vgg()
        with no_grad():
            G, A = (
                {k: gram(f).data for k, f in network.features(Tensor(p[None]), network.style_layers).items()}
                for p in (pixels, ART)
            )
            return sum(style_loss(Tensor(G[k]), A[k]).item() for k in G)

    little, much = (style_error(last(style_weight=w).pixels) for w in (0.1, 100))
    assert much < little < style_error(PHOTO)
    rough, smooth = (total_variation(Tensor(last(tv_weight=w).pixels[None])).item() for w in (0, 300))
    assert smooth < 0.5 * rough


def test_without_style_weight_the_photo_stays():
    np.testing.assert_allclose(last(style_weight=0, tv_weight=0).pixels, PHOTO, atol=1e-6)


def test_several_styles_are_blended_by_weight():
    def end(*weights):
        return list(gatys(PHOTO, [ART, OTHER_ART], tiny_vgg(), FEW, style_weights=weights))[-1].pixels

    first, second = (list(gatys(PHOTO, [s], tiny_vgg(), FEW))[-1].pixels for s in (ART, OTHER_ART))
    np.testing.assert_allclose(end(1, 0), first, atol=0.02)
    np.testing.assert_allclose(end(0, 5), second, atol=0.02)
    middle = end(1, 1)
    assert np.abs(middle - first).mean() < np.abs(first - second).mean()


def test_layers_by_name_and_weight():
    few = last(content_layers=("relu2_1",), style_layers=("relu1_1=3", "conv2_2"))
    assert few.loss < 1e3
    with pytest.raises(ValueError, match="no relu7_1; it has"):
        last(style_layers=("relu7_1",))


def test_style_scale_changes_the_size_of_the_strokes():
    assert np.abs(last(style_scale=0.3).pixels - last(style_scale=2.0).pixels).max() > 0.01


def test_the_papers_formulas():
    step = last(loss_scale="paper", content_weight=1.0, style_weight=10.0)
    first = next(gatys(PHOTO, [ART], tiny_vgg(), replace(FEW, loss_scale="paper")))
    assert step.loss < first.loss


def test_coarse_to_fine():
    steps = list(gatys(PHOTO, [ART], tiny_vgg(), replace(FEW, iterations=10, pyramid=True)))
    sizes = [s._pixels.shape[1:3] for s in steps]
    assert sizes == [(12, 16)] * 11 + [(24, 32)] * 2
    assert [s.iteration for s in steps] == list(range(13)) and steps[-1].iterations == 12


def test_it_ends_where_little_is_gained():
    """The largest least gain ends every size as soon as there is one to be measured; none of the steps is left out."""
    options = replace(FEW, iterations=40, pyramid=True, least_gain=0.999)
    steps = list(gatys(PHOTO, [ART], tiny_vgg(), options))
    assert [s.iteration for s in steps] == list(range(21))
    assert {s.iterations for s in steps[:10]} == {50} and steps[-1].iterations == 20
    usual = list(gatys(PHOTO, [ART], tiny_vgg(), replace(FEW, iterations=400, least_gain=0.02)))
    losses = [s.loss for s in usual]
    assert 10 < len(losses) < 400 and losses[-1] >= 0.98 * losses[-11]
    assert all(losses[i] < 0.98 * losses[i - 10] for i in range(10, len(losses) - 1))


def test_a_strip_is_never_halved_below_what_the_network_takes():
    """Neither is the painting, which is as long as the photo."""
    strip = np.random.default_rng(0).random((8, 600, 3), np.float32)
    art = np.random.default_rng(1).random((2, 90, 3), np.float32)
    assert (
        list(gatys(strip, [art], tiny_vgg(), replace(FEW, iterations=1, pyramid=True)))[-1].pixels.shape == strip.shape
    )


def test_no_iterations_give_the_start():
    np.testing.assert_allclose(last(iterations=0, init="photo").pixels, PHOTO, atol=6 * DEVIATION)
    np.testing.assert_array_equal(last(iterations=0, style_weight=0).pixels, PHOTO)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_diverging_loss_names_the_layer_and_keeps_the_last_good_step(optimizer):
    network = tiny_vgg()
    good = []
    with pytest.raises(Diverged, match=r"the loss at relu2_1 became infinite or NaN; the last good picture is kept"):
        for step in gatys(PHOTO, [ART], network, replace(FEW, optimizer=optimizer)):
            good.append(step)
            if step.iteration == 3:
                w, b = network.weights["conv2_1"]
                network.weights["conv2_1"] = w * np.float32(np.nan), b
    assert np.isfinite(good[-1].pixels).all() and good[-1].iteration == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style_weight": -1.0}, "style_weight: expected a finite number of 0 or more, got -1.0"),
        ({"content_weight": float("nan")}, "content_weight: .* got nan"),
        ({"least_gain": -0.1}, "least_gain: expected a finite number of 0 or more, got -0.1"),
        ({"style_scale": 0.0}, "style_scale: expected a finite number above 0, got 0.0"),
        ({"learning_rate": -1.0}, "learning_rate: expected a finite number above 0, got -1.0"),
        ({"optimizer": "sgd"}, "optimizer: expected lbfgs or adam, got 'sgd'"),
        ({"content_layers": ("relu1_1=x",)}, "as NAME or NAME=WEIGHT above 0, got 'relu1_1=x'"),
        ({"content_layers": ("relu1_1", "relu1_1")}, "each layer once"),
        ({"style_layers": ("relu1_1=0",)}, "above 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        last(**options)


def test_a_picture_too_small_for_the_layers():
    with pytest.raises(ValueError, match="too few for relu3_1"):
        list(gatys(PHOTO[:3, :3], [ART], tiny_vgg(), FEW))


def test_the_whole_chain_is_differentiated():
    """Pixels to the sum of all terms through the network, in float64."""
    network = tiny_vgg(dtype=np.float64, pooling="avg")
    rng = np.random.default_rng(0)
    with no_grad():
        P = network.features(Tensor(PHOTO[None, :11, :13].astype(np.float64)), ["relu3_1"])["relu3_1"].data
        A = {
            k: gram(f).data
            for k, f in network.features(Tensor(ART[None].astype(np.float64)), network.style_layers).items()
        }

    def loss(x):
        F = network.features(x, [*network.style_layers, "relu3_1"])
        total = content_loss(F["relu3_1"], P) + total_variation(x) * 0.1
        for k in network.style_layers:
            total = total + style_loss(gram(F[k]), A[k]) * 3
        return total

    check = gradcheck(loss, [rng.random((1, 11, 13, 3))], step=1e-7)
    assert check.error < 1e-6, check


@needs_real_vgg19
@pytest.mark.parametrize("init", ["photo", "noise"])
def test_fifty_steps_are_as_good_as_torchs(init, tmp_path):
    """The same objective, the same start, 50 iterations of torch.optim.LBFGS: within 5 % of its loss, or better."""
    torch = pytest.importorskip("torch")
    convert(REAL_VGG19, tmp_path / "vgg19.h5")
    network = loss_network(tmp_path / "vgg19.h5")
    photo, art = picture(64, 64, 1), picture(64, 64, 2)
    options = GatysOptions(iterations=50, init=init, content_weight=1.0, least_gain=0)
    steps = list(gatys(photo, [art], network, options))

    terms = perceptual_loss(network, options)
    objective = PixelObjective(terms, photo[None], [StyleTarget(terms.grams(art[None]))])
    x = torch.from_numpy(steps[0].pixels[None].copy()).requires_grad_()
    theirs = torch.optim.LBFGS([x], max_iter=50, history_size=20, line_search_fn="strong_wolfe")
    theirs.param_groups[0].update(tolerance_change=0, tolerance_grad=0)

    def closure():
        values, gradient = objective(x.detach().numpy())
        x.grad = torch.from_numpy(gradient)
        return torch.tensor(values[-1])

    theirs.step(closure)
    assert steps[-1].loss <= 1.05 * objective(x.detach().numpy())[0][-1]


def test_who_keeps_the_photos_colors_starts_from_them():
    how = {"method": "gatys", "size": 32, "iterations": 0}
    assert stylize(PHOTO, ART, colors="content", **how).recipe["init"] == "photo"
    assert stylize(PHOTO, ART, **how).recipe["init"] == "content"
    assert stylize(PHOTO, ART, colors="content", init="noise", **how).recipe["init"] == "noise"
