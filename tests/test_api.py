"""The Python interface: what it takes, gives and refuses, and that it does what the command line does."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import nanostyle
from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import save_image
from nanostyle.io.recipe import read_recipe
from nanostyle.io.weights import WeightFile, save_weights
from nanostyle.models.palette import between, nearer, palette_of
from tests.support.command import run
from tests.support.networks import vgg_parts
from tests.support.paths import ROOT
from tests.support.pictures import picture

GATYS = {"method": "gatys", "iterations": 3, "pyramid": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A photo, a painting, a mask, a tiny loss network and the model of one style."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "photos").mkdir()
    (folder / "cache").mkdir()
    save_image(folder / "photos" / "photo.png", picture(40, 48, 1))
    save_image(folder / "photos" / "other.png", picture(36, 44, 4))
    save_image(folder / "art.png", picture(40, 40, 2))
    save_image(
        folder / "mask.png", np.repeat((np.arange(48) < 24)[None, :, None], 40, 0).repeat(3, 2).astype(np.float32)
    )
    save_weights(folder / "loss.h5", WeightFile("features", *vgg_parts(), source="random", license="none"))
    return folder


@pytest.fixture(scope="module")
def one(folder):
    """The file of a model of one style, trained for two steps."""
    small = {"steps": 2, "size": 32, "batch": 1, "width": 0.125, "loss_net": str(folder / "loss.h5")}
    steps = list(
        nanostyle.train("feedforward", folder / "photos", folder / "art.png", folder / "one.h5", device="cpu", **small)
    )
    assert [step.step for step in steps] == [1, 2]
    return folder / "one.h5"


def loss(folder):
    return {"loss_net": folder / "loss.h5", **GATYS}


# --- what it takes ----------------------------------------------------------------------------------------


def test_importing_it_reads_no_library():
    program = "import sys, nanostyle; print([m for m in ('numpy', 'h5py', 'PIL', 'click') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_every_public_name_is_there_and_is_told_of():
    for name in nanostyle.__all__:
        assert name in dir(nanostyle)
        if name != "__version__":
            assert getattr(nanostyle, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'style'"):
        nanostyle.style  # noqa: B018


def test_threads_get_the_bytes_that_one_gets():
    stylizer, photo = nanostyle.Stylizer(picture(30, 30)), picture(20, 24)
    want = stylizer.stylize(photo).pixels
    with ThreadPoolExecutor(8) as pool:
        for pixels in pool.map(lambda _: stylizer.stylize(photo).pixels, range(40)):
            np.testing.assert_array_equal(pixels, want)


# --- what it gives ----------------------------------------------------------------------------------------


def test_a_result_is_saved_with_its_recipe_and_replaces_nothing(folder, tmp_path):
    result = nanostyle.stylize(folder / "photos" / "photo.png", folder / "art.png", strength=0.5)
    assert result.save(tmp_path / "a.png") == tmp_path / "a.png"
    assert read_recipe(tmp_path / "a.png") == result.recipe
    np.testing.assert_array_equal(np.asarray(result.image), np.asarray(Image.open(tmp_path / "a.png")))
    with pytest.raises(FileExistsError):
        result.save(tmp_path / "a.png")
    result.save(tmp_path / "a.png", overwrite=True)
    with pytest.raises(ValueError, match="xyz"):
        result.save(tmp_path / "a.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("words", "style", "options"),
    [
        (["--style-image", "art.png", "--strength", "0.5"], "art.png", {"strength": 0.5}),
        (["--style", "scream_munch", "--colors", "content"], ["scream_munch"], {"colors": "content"}),
        (["--style-image", "art.png", "--mask", "mask.png"], "art.png", {"masks": ["mask.png"]}),
        (
            ["--style", "scream_munch", "--style", "udnie_picabia", "--weight", "3", "--weight", "1", "--size", "32"],
            ["scream_munch", "udnie_picabia"],
            {"weights": [3.0, 1.0], "size": 32},
        ),
        (
            ["--style-image", "art.png", "--iterations", "3", "--loss-net", "loss.h5", "--no-pyramid"],
            "art.png",
            {"iterations": 3, "loss_net": "loss.h5", "pyramid": False},
        ),
    ],
)
def test_it_does_what_the_command_line_does(folder, tmp_path, monkeypatch, words, style, options):
    """The same pixels and the same recipe, to the letter."""
    monkeypatch.chdir(folder)
    result = run("stylize", "photos/photo.png", *words, "--device", "cpu", "-o", tmp_path / "cli.png", cwd=folder)
    assert result.returncode == 0, result.stderr
    ours = nanostyle.stylize("photos/photo.png", style, device="cpu", **options)
    ours.save(tmp_path / "api.png")
    assert (tmp_path / "cli.png").read_bytes() == (tmp_path / "api.png").read_bytes()


def test_strength_goes_to_the_photo(folder, one):
    photo = load_image(folder / "photos" / "photo.png").pixels
    for how in ({"style": folder / "art.png"}, {"style": "scream_munch"}, {"model": one}):
        full, half, none = (nanostyle.stylize(photo, strength=s, **how).pixels for s in (1, 0.5, 0))
        np.testing.assert_allclose(none, photo, atol=1e-5)
        assert 0.01 < np.abs(half - photo).mean() < np.abs(full - photo).mean()


def test_regions_and_colors(folder):
    photo = load_image(folder / "photos" / "photo.png").pixels
    mask = np.zeros((40, 48), np.uint8)
    mask[:, :16] = 255
    result = nanostyle.stylize(photo, "scream_munch", masks=mask)
    np.testing.assert_allclose(result.pixels[:, 24:], photo[:, 24:], atol=0.01)
    assert np.abs(result.pixels[:, :12] - photo[:, :12]).mean() > 0.05
    kept = nanostyle.stylize(photo, "scream_munch", colors="content").pixels
    inside = ((kept > 0) & (kept < 1)).all(axis=2)
    shift = (kept - photo)[inside]
    assert np.ptp(shift, axis=1).max() < 1e-5  # the same in each channel: only the brightness is another


def test_many_photos_with_one_stylizer(folder):
    stylizer = nanostyle.Stylizer(folder / "art.png", strength=0.8)
    photos = [folder / "photos" / name for name in ("photo.png", "other.png")]
    results = [stylizer.stylize(photo) for photo in photos]
    for photo, result in zip(photos, results, strict=True):
        np.testing.assert_array_equal(result.pixels, nanostyle.stylize(photo, folder / "art.png", strength=0.8).pixels)
        assert result.recipe["photo"] == photo.name
    np.testing.assert_array_equal(stylizer.render(load_image(photos[0]).pixels), results[0].pixels)


def test_a_saved_style_gives_the_same_picture(folder, tmp_path):
    photo = folder / "photos" / "photo.png"
    style = nanostyle.load_style(folder / "art.png")
    assert style.name == "art" and len(style.thumbnail)
    style.save(tmp_path / "art.h5")
    with pytest.raises(FileExistsError):
        style.save(tmp_path / "art.h5")
    again = nanostyle.load_style(tmp_path / "art.h5")
    ways = [folder / "art.png", style, again, tmp_path / "art.h5", str(tmp_path / "art.h5")]
    pictures = [nanostyle.stylize(photo, way).pixels for way in ways]
    for pixels in pictures[1:]:
        np.testing.assert_array_equal(pixels, pictures[0])


def test_a_model_is_one_thing_whatever_its_kind(folder, one):
    photo = load_image(folder / "photos" / "photo.png").pixels
    art = load_image(folder / "art.png").pixels
    for source, kind, style in (("any", "predict", art), ("styles", "cin", "scream_munch"), (one, "feedforward", None)):
        model = nanostyle.load_model(source, device="cpu")
        assert (model.kind, model.device.name, len(model.sha256)) == (kind, "cpu", 64)
        assert model.describe()["kind"] == kind and model.path.suffix == ".h5"
        made = model.render(photo, style, strength=0.7)
        assert made.shape == photo.shape and 0 <= made.min() <= made.max() <= 1
        np.testing.assert_array_equal(model.renderer(model.style(style), strength=0.7)(photo), made)
        if palette := model.palette(model.style(style)):
            made = nearer(made, between(palette_of(photo), palette, 0.7))
        np.testing.assert_array_equal(nanostyle.stylize(photo, style, model=model, strength=0.7).pixels, made)
    assert model.styles == ["art"] and model.thumbnails.keys() == {"art"}


# --- step by step -----------------------------------------------------------------------------------------


def test_gatys_tells_of_each_step_and_closing_cancels(folder):
    photo, art = folder / "photos" / "photo.png", folder / "art.png"
    nanostyle.stylize_iter(photo, art, **loss(folder)).close()  # before its first step
    steps = list(nanostyle.stylize_iter(photo, art, **loss(folder)))
    assert [step.done for step in steps] == [0, 1, 2, 3] and {step.total for step in steps} == {3}
    assert all(step.loss == pytest.approx(sum(step.terms.values()), rel=1e-5) for step in steps)
    assert steps[-1].loss < steps[0].loss
    last = steps[-1].picture
    assert last.recipe["iteration"] == 3 and last.recipe["loss_net"] == "loss.h5"
    np.testing.assert_array_equal(last.pixels, nanostyle.stylize(photo, art, **loss(folder)).pixels)

    endless = nanostyle.stylize_iter(photo, art, **{**loss(folder), "iterations": 100_000, "optimizer": "adam"})
    for step in endless:
        if step.done == 2:
            break
    endless.close()
    assert step.picture.pixels.shape == (40, 48, 3)
    with pytest.raises(StopIteration):
        next(endless)


def test_one_pass_is_one_step():
    (step,) = nanostyle.stylize_iter(np.full((20, 24, 3), 0.5), "scream_munch")
    assert (step.done, step.total, step.loss, step.terms) == (1, 1, None, {})


# --- options ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("style", "options", "error", "message"),
    [
        ("scream_munch", {"strength": 1.5}, ValueError, "strength: expected a number from 0 to 1, got 1.5"),
        ("scream_munch", {"strenght": 1}, TypeError, "no option 'strenght'; did you mean 'strength'"),
        ("scream_munch", {"colors": "none"}, ValueError, "colors: expected style or content, got 'none'"),
        ("scream_munch", {"size": 0}, ValueError, "size: expected 1 pixel or more"),
        ("scream_munch", {"weights": [-1]}, ValueError, "weights: expected finite numbers"),
        ("scream_munch", {"weights": [1, 2]}, nanostyle.NanostyleError, "expected one for each of 1 styles"),
        ("scream_munch", {"masks": [np.ones((4, 4))] * 2}, nanostyle.NanostyleError, "expected one for each of 1"),
        ("scream_munch", {"masks": np.ones((4, 4)), "weights": [1]}, nanostyle.NanostyleError, "masks or weights"),
        ("scream_munch", {"iterations": 3}, nanostyle.NanostyleError, "iterations is an option of method gatys"),
        ("scream_munch", {"method": "gatys"}, nanostyle.NanostyleError, "method gatys takes paintings"),
        ("scream_munch", {"method": "predict"}, nanostyle.NanostyleError, "is a model of method cin"),
        ("scream_munsh", {}, nanostyle.NanostyleError, "did you mean scream_munch"),
        (picture(20, 20), {"method": "gatys", "strength": 0.5}, nanostyle.NanostyleError, "strength is for trained"),
        (picture(20, 20), {"method": "cin"}, nanostyle.NanostyleError, "needs a model that knows the painting"),
        (picture(20, 20), {"model": "styles"}, nanostyle.NanostyleError, "knows the styles"),
        ([picture(20, 20), "scream_munch"], {"model": "any"}, nanostyle.NanostyleError, "got both"),
        (None, {}, nanostyle.NanostyleError, "style: expected one, got none"),
        (None, {"model": "styles"}, ValueError, "name one or several"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(style, options, error, message):
    with pytest.raises(error, match=message) as caught:
        nanostyle.stylize(picture(20, 24), style, **options)
    assert "--" not in str(caught.value) and "\n" not in str(caught.value)


def test_options_are_one_frozen_object(folder):
    options = nanostyle.StylizeOptions(strength=0.5, size=32)
    with pytest.raises(AttributeError):
        options.strength = 1.0
    a = nanostyle.stylize(folder / "photos" / "photo.png", "scream_munch", options=options)
    b = nanostyle.stylize(folder / "photos" / "photo.png", "scream_munch", strength=0.5, size=32)
    np.testing.assert_array_equal(a.pixels, b.pixels)
    more = nanostyle.StylizeOptions(gatys=nanostyle.GatysOptions(iterations=2)).changed({"seed": 7, "size": 20})
    assert (more.gatys.iterations, more.gatys.seed, more.size) == (2, 7, 20)


# --- training and scores ----------------------------------------------------------------------------------


def test_training_that_makes_no_sense_is_refused(folder, tmp_path):
    for mode, styles, more, message in (
        ("all", "art.png", {}, "mode: expected feedforward, cin or predict"),
        ("feedforward", "photos", {}, "takes one painting and no weights, got 2 paintings"),
        ("predict", "photos", {"weights": {"art": 2.0}}, "takes no weights"),
        ("predict", "photos", {"add_to": "many.h5"}, "only mode cin adds styles"),
    ):
        steps = nanostyle.train(mode, folder / "photos", folder / styles, tmp_path / "x.h5", **more)
        with pytest.raises(ValueError, match=message):
            next(steps)
    assert not list(tmp_path.iterdir())


def test_evaluate_scores_each_style(folder, one):
    few = {"count": 1, "size": 32, "iterations": 2, "loss_net": str(folder / "loss.h5")}
    (score,) = nanostyle.evaluate(one, folder / "photos", folder / "art.png", **few)
    assert score.style == "art" and score.loss > 0 and len(score.iterations) == 1
    with pytest.raises(nanostyle.NanostyleError, match="no painting is named as a style"):
        next(nanostyle.evaluate(one, folder / "photos", folder / "photos", **few))
