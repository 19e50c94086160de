"""What every trained network has from its one interface: strength and blends, whatever its styles are."""

import numpy as np
import pytest

from nanostyle.backend.device import CPU
from nanostyle.errors import NanostyleError
from nanostyle.models.base import TrainedModel
from nanostyle.models.grain import with_grain
from nanostyle.models.multistyle import Mix, Model
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config


class Brightener(TrainedModel[float]):
    """A model of another kind: a style is a number that is added to the photo; its own style loses a tenth."""

    styles, thumbnails, device, path = ["dark", "light"], {}, CPU, None
    recipe, source, license = {}, "", ""
    kind = "brightener"

    def __init__(self, identity=True):
        self.identity = identity

    def style(self, wanted=None, *, name=""):
        return wanted if isinstance(wanted, float) else {"dark": -0.3, "light": 0.3}[wanted]

    def _painter(self):
        return lambda photo, style: np.float32(0.9) * photo + np.float32(style)

    def _in_bands(self, photo, style, memory):
        raise NotImplementedError

    def _own(self, photo):
        return 0.0 if self.identity else None

    def _mixed(self, styles, shares):
        return float(np.dot(styles, shares))

    def _bytes_per_pixel(self):
        return 1.0


PHOTO = np.full((4, 5, 3), 0.5, np.float32)


@pytest.mark.parametrize("strength", [0.0, 0.25, 1.0])
def test_strength_mixes_in_the_photo_s_own_style_and_gives_back_what_it_loses(strength):
    made, seen = Brightener().render(PHOTO, "light", strength=strength), with_grain(PHOTO)
    np.testing.assert_allclose(made, 0.9 * seen + strength * 0.3 + (1 - strength) * (PHOTO - 0.9 * seen), rtol=1e-5)


def test_without_a_style_of_the_photo_pixels_are_mixed():
    model = Brightener(identity=False)
    whole = model.render(PHOTO, "light")
    np.testing.assert_allclose(model.render(PHOTO, "light", strength=0.25), 0.25 * whole + 0.75 * PHOTO, rtol=1e-6)


def test_the_result_is_cut_to_0_and_1():
    assert Brightener().render(np.ones((2, 2, 3), np.float32), "light").max() == 1
    assert Brightener().render(np.zeros((2, 2, 3), np.float32), "dark").min() == 0


def test_blends_have_parts_that_sum_to_1():
    model = Brightener()
    assert model.blend(["dark", "light"], [1, 3]) == pytest.approx(0.15)
    assert model.blend(["dark", "light"]) == 0
    assert model.blend(["dark"]) == -0.3
    with pytest.raises(ValueError, match="got none"):
        model.blend([])
    for weights in ([1], [0, 0], [1, -1], [1, float("nan")]):
        with pytest.raises(ValueError, match="weight: expected"):
            model.blend(["dark", "light"], weights)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_is_from_0_to_1(strength):
    with pytest.raises(ValueError, match="strength: expected a number from 0 to 1"):
        Brightener().renderer("light", strength=strength)


def test_it_describes_itself_in_json_values():
    assert Brightener().describe() == {
        "kind": "brightener",
        "file": "",
        "sha256": "",
        "styles": ["dark", "light"],
        "source": "",
        "license": "",
        "recipe": {},
    }


def model(**options):
    net = TransformerNet(transformer_config(width=0.05, **options), np.random.default_rng(0))
    return Model(net, ["photo", "a", "b"] if "styles" in options else ["a"])


def test_a_model_of_one_style_needs_none_named():
    one = model(arch="johnson")
    assert one.style() == one.style("a") == Mix("a", ((0, 1.0),))
    assert one.kind == "feedforward" and one.paintings == ["a"]


def test_a_model_of_many_mixes_rows_in_the_order_of_the_styles():
    many = model(arch="dumoulin", styles=3, identity=True)
    assert many.kind == "cin" and many.paintings == ["a", "b"]
    assert many.blend(["b", "a", "b"], [2, 1, 1]) == Mix("b + a + b", ((2, 0.75), (1, 0.25)))
    with pytest.raises(ValueError, match="this model has a, b; name one or several"):
        many.style()
    with pytest.raises(NanostyleError, match="takes no painting"):
        many.style(PHOTO)
    with pytest.raises(NanostyleError, match="there is no style 'c'"):
        many.style("c")
