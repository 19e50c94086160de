"""The models that ship: what is promised of their files, and that they do their work."""

import numpy as np
import pytest

from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.io.atomic import sha256
from nanostyle.io.image_read import load_image
from nanostyle.io.weights import load_weights
from nanostyle.methods.gatys import gatys
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.models.importers.vgg import convert
from nanostyle.models.loss_network import default_loss_network, loss_network
from nanostyle.models.multistyle import load_multistyle
from nanostyle.models.predictor import load_predictor
from nanostyle.models.registry import find
from nanostyle.nn.losses import grid_loss
from tests.support.networks import REAL_VGG19, needs_real_vgg19
from tests.support.paths import ROOT

BUILTIN = ROOT / "weights" / "builtin"
LOSS = BUILTIN / "loss.h5"
LEVELS = ["relu1_1", "relu2_1", "relu3_1", "relu4_1"]
DEEP = ["relu4_2", "relu5_1"]


@pytest.fixture(autouse=True)
def nothing_but_the_checkout(monkeypatch):
    monkeypatch.delenv("NANOSTYLE_WEIGHTS", raising=False)


def grams(network, pixels):
    with no_grad():
        found = network.features(Tensor(pixels[None]), LEVELS)
        return {name: network.gram(name, f).data[0] for name, f in found.items()}


def photo(size=128):
    return load_image(ROOT / "docs" / "pictures" / "photo.jpg", size=size).pixels


def painting(size=128):
    return load_image(ROOT / "docs" / "pictures" / "painting.jpg", size=size).pixels


def test_every_built_in_file_has_its_checksum():
    lines = (ROOT / "weights" / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert sums == {f"builtin/{path.name}": sha256(path) for path in BUILTIN.glob("*.h5")}


def test_the_loss_network_is_small_and_names_its_origin():
    assert LOSS.stat().st_size <= 3_000_000
    weights = load_weights(LOSS, "features")
    assert "VGG-19" in weights.source and weights.license == "CC-BY-4.0"
    assert find("builtin") == default_loss_network() == LOSS


def test_its_features_are_what_they_were():
    """Means over a picture of waves: a changed file, or a changed reading of it, is seen."""
    y, x = np.mgrid[0:64, 0:64] / 64
    waves = np.stack([np.sin(9 * x + 4 * y), np.cos(7 * x - 5 * y), np.sin(20 * x * y)], axis=2)
    with no_grad():
        network = loss_network("builtin")
        found = network.features(Tensor((0.5 + 0.4 * waves).astype(np.float32)[None]), LEVELS + DEEP)
        found = {name: network.mapped(name, f) for name, f in found.items()}
    scale = {name: float(np.sqrt((f.data**2).mean())) for name, f in found.items()}
    assert scale == pytest.approx(RECORDED, rel=1e-3)


RECORDED = {
    "relu1_1": 132.584,
    "relu2_1": 408.563,
    "relu3_1": 661.056,
    "relu4_1": 2117.85,
    "relu4_2": 1622.93,
    "relu5_1": 251.188,
}


def test_gatys_with_it_brings_the_style_closer():
    options = GatysOptions(iterations=15)
    first, *_, last = gatys(photo(), [painting()], loss_network("builtin"), options)
    assert last.terms["style"] < 0.3 * first.terms["style"]


@needs_real_vgg19
def test_what_it_calls_style_vgg19_calls_style(tmp_path):
    """Gatys with the slim network, judged by the real one: the style loss falls to a fraction there too."""
    convert(REAL_VGG19, tmp_path / "vgg19.h5")
    real, slim = loss_network(tmp_path / "vgg19.h5"), loss_network("builtin")
    target = grams(real, painting())

    def style(pixels):
        found = grams(real, pixels)
        return np.mean([((found[n] - target[n]) ** 2).sum() / (target[n] ** 2).sum() for n in LEVELS])

    *_, last = gatys(photo(), [painting()], slim, GatysOptions(iterations=40))
    assert style(last.pixels) < 0.3 * style(photo())


def any_painting(pixels):
    predictor = load_predictor(BUILTIN / "any.h5")
    return predictor.render(pixels, predictor.style(painting(256), name="painting"))


ONE_COLOR = np.full((150, 210, 3), [0.8, 0.1, 0.4], np.float32)


def test_without_grain_a_photo_of_one_color_comes_out_in_one_color():
    """Three norms in a row enlarge a difference ten million times: what Winograd's algorithm rounds would be seen."""
    predictor = load_predictor(BUILTIN / "any.h5")
    embedding = predictor.style(painting(256), name="painting").embedding
    with no_grad():
        made = predictor.net(Tensor(ONE_COLOR[None]), Tensor(embedding[None])).data[0]
    assert made.std(axis=(0, 1)).max() < 1e-3


def test_a_photo_of_one_color_is_painted():
    made = any_painting(ONE_COLOR)
    assert made.std(axis=(0, 1)).mean() > 5 / 255
    np.testing.assert_array_equal(any_painting(ONE_COLOR), made)


def test_a_smooth_sky_has_strokes_and_no_stripes():
    """Without grain the steps of 8 bits became stripes along whole rows: 0.99 of what is fine."""
    slope = np.linspace(0, 1, 200)[:, None, None]
    sky = (1 - slope) * np.array([0.2, 0.3, 0.6]) + slope * np.array([0.95, 0.6, 0.3])
    smooth = (np.round(np.broadcast_to(sky, (200, 300, 3)) * 255) / 255).astype(np.float32)
    wave = load_multistyle(BUILTIN / "styles.h5").render(smooth, "great_wave_hokusai")
    for made in (any_painting(smooth), wave):
        low = np.stack([made[max(0, i - 6) : i + 7].mean(axis=0) for i in range(len(made))])
        fine = (made - low)[10:-10]
        assert fine.mean(axis=1).var() < 0.4 * fine.var()


def test_no_weave():
    """The third stage of its training, without the grid loss, ended at 13 thousandths."""
    assert grid_loss(Tensor(any_painting(photo(512))[None])).item() < 0.002**2
