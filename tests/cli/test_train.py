"""Training and trained models from the command line: one path through all of it, and what goes wrong."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import save_image
from nanostyle.io.recipe import read_recipe
from nanostyle.io.weights import WeightFile, load_weights, save_weights
from tests.support.command import environment, failed, listing, run
from tests.support.networks import vgg_parts

TINY = {"steps": 3, "size": 32, "width": 0.25, "batch": 2, "checkpoint-every": 2, "preview-every": 3}
SMALL = ["--loss-net", "loss.h5", *(f"--{name}={value}" for name, value in TINY.items())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos, paintings, a tiny loss network, and two trained models."""
    folder = tmp_path_factory.mktemp("train")
    rng = np.random.default_rng(0)
    for name, count in (("photos", 4), ("paintings", 2)):
        (folder / name).mkdir()
        for i in range(count):
            save_image(folder / name / f"{name}{i}.png", rng.random((40, 48, 3), np.float32))
    save_image(folder / "new.png", rng.random((40, 40, 3), np.float32))
    save_weights(folder / "loss.h5", WeightFile("features", *vgg_parts(), source="random", license="none"))
    (folder / "cache").mkdir()
    for mode, styles, name in (("cin", "paintings", "many.h5"), ("feedforward", "new.png", "one.h5")):
        result = run("train", "--mode", mode, "--content", "photos", "--styles", styles, *SMALL, "-o", name, cwd=folder)
        assert result.returncode == 0, result.stderr
        assert "3/3" in result.stderr and f"{name}; report:" in result.stderr
    return folder


def test_training_leaves_a_model_a_report_and_a_preview(folder):
    assert (folder / "many.training" / "report.html").stat().st_size > 1000
    assert "preview-000003.png" in listing(folder / "many.training")
    assert run("styles", "many.h5", cwd=folder).stdout.split() == ["photo", "paintings0", "paintings1"]


def stylize(folder, *args):
    return run("stylize", "photos/photos0.png", "--overwrite", *args, cwd=folder)


def test_a_trained_model_stylizes(folder):
    result = stylize(folder, "--model", "many.h5", "--style", "paintings1", "--strength", "0.5")
    assert result.returncode == 0, result.stderr
    assert "method cin, model many.h5" in result.stderr
    assert load_image(folder / "photos0_paintings1.png").pixels.shape == (40, 48, 3)
    recipe = read_recipe(folder / "photos0_paintings1.png")
    assert recipe["strength"] == 0.5 and recipe["method"] == "cin" and len(recipe["model_sha256"]) == 64

    both = ["--style", "paintings0", "--style", "paintings1", "--weight", "1", "--weight", "3"]
    assert stylize(folder, "--model", "many.h5", *both, "-o", "both.png").returncode == 0
    assert stylize(folder, "--model", "one.h5", "--size", "31", "-o", "one.png").returncode == 0
    assert load_image(folder / "one.png").pixels.shape == (26, 31, 3)


def test_styles_draws_a_sheet(folder):
    result = run("styles", "many.h5", "--sheet", "photos/photos1.png", "--size", "40", "-o", "s.png", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert load_image(folder / "s.png").pixels.shape[1] > 3 * 256


def test_add_style_keeps_the_old_ones(folder):
    args = ["--content", "photos", "--steps", "2", "--size", "32", "--batch", "2", "--loss-net", "loss.h5"]
    result = run("add-style", "many.h5", "new.png", *args, "-o", "more.h5", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert run("styles", "more.h5", cwd=folder).stdout.split() == ["photo", "paintings0", "paintings1", "new"]
    for name in ("many", "more"):
        assert stylize(folder, "--model", f"{name}.h5", "--style", "paintings0", "-o", f"{name}.png").returncode == 0
    pictures = [load_image(folder / f"{name}.png").pixels for name in ("many", "more")]
    np.testing.assert_array_equal(*pictures)


def test_resume_goes_on(folder):
    more = ["--mode", "cin", "--content", "photos", "--styles", "paintings", *SMALL, "-o", "many.h5"]
    failed(run("train", *more, cwd=folder), "--resume", "--overwrite")
    result = run("train", *more, "--steps", "5", "--resume", cwd=folder)
    assert result.returncode == 0 and "5/5" in result.stderr, result.stderr
    failed(run("train", *more, "--lr", "0.1", "--resume", cwd=folder), "lr was 0.001")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_what_ends_the_program_keeps_what_there_is(folder, name):
    args = ["--mode", "feedforward", "--content", "photos", "--styles", "new.png", *SMALL, "--steps", "100000"]
    with subprocess.Popen(
        [sys.executable, "-m", "nanostyle", "train", *args, "-o", f"{name}.h5"],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        log = folder / f"{name}.training" / "log.jsonl"
        while process.poll() is None and not (log.exists() and log.read_text().count("\n") > 2):
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        rest = process.stderr.read()
        assert process.wait(60) == 130, rest
    told = re.search(r"Interrupted: training stopped after step (\d+); the same command with --resume goes on", rest)
    assert told and "Traceback" not in rest, rest
    assert load_weights(folder / f"{name}.training" / "checkpoint.h5").config["step"] == int(told[1]) > 1
    assert (folder / f"{name}.h5").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--model", "many.h5"], ["paintings0, paintings1"]),
        (["--model", "many.h5", "--style", "painting1"], ["no style 'painting1'", "paintings1"]),
        (["--model", "many.h5", "--style", "paintings0", "--style-image", "new.png"], ["got both"]),
        (["--style", "paintings0"], ["style"]),
        (["--model", "loss.h5"], ["loss.h5", "it is a loss network, expected a model"]),
        (["--model", "photos/photos0.png"], ["no nanostyle file"]),
        (["--model", "many.h5", "--style", "paintings"], ["did you mean paintings0 or paintings1?"]),
        (["--model", "many.h5", "--style", "paintings0", "--iterations", "3"], ["--iterations", "method gatys"]),
        (
            ["--model", "many.h5", "--style", "paintings0", "--save-style", "s.h5"],
            ["--save-style is for --style-image"],
        ),
        (["--style-image", "new.png", "--method", "gatys", "--strength", "0.5"], ["--strength", "trained models"]),
        (["--style-image", "new.png", "--method", "gatys", "--save-style", "s.h5"], ["--save-style"]),
        (["--style-image", "new.png", "--iterations", "3", "--strength", "0"], ["--strength"]),
        (["--model", "none.h5"], ["none.h5"]),
        (["--model", "one.h5", "--method", "cin"], ["feedforward"]),
        (["--model", "many.h5", "--style", "paintings0", "--strength", "2"], ["--strength"]),
    ],
)
def test_stylize_refuses(folder, args, words):
    before = listing(folder)
    failed(stylize(folder, *args), *words)
    assert listing(folder) == before


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--mode", "feedforward", "--content", "photos", "--styles", "paintings"], ["one painting", "got 2"]),
        (["--mode", "cin", "--content", "nowhere", "--styles", "paintings"], ["nowhere"]),
        (["--mode", "cin", "--content", "photos", "--styles", "nowhere"], ["nowhere"]),
        (["--mode", "cin", "--content", "photos", "--styles", "paintings", "--weight", "x"], ["NAME=NUMBER"]),
        (["--mode", "cin", "--content", "photos", "--styles", "paintings", "--weight", "x=1"], ["x"]),
        (["--mode", "cin", "--content", "photos", "--styles", "paintings", "--lr", "-1"], ["lr"]),
        (["--mode", "cin", "--content", "photos", "--styles", "paintings", "--loss-net", "none.h5"], ["none.h5"]),
        (["--mode", "all", "--content", "photos", "--styles", "paintings"], ["--mode"]),
        (["--mode", "cin", "--content", "photos", "--styles", "paintings", "-o", "many.png"], ["MODEL.h5"]),
        (["--mode", "cin", "--content", "photos", "--styles", "paintings", "-o", "new.png"], ["MODEL.h5"]),
        (
            ["--mode", "cin", "--content", "photos", "--styles", "paintings", "-o", "loss.h5"],
            ["loss.h5 exists already"],
        ),
        (["--mode", "predict", "--content", "photos", "--styles", "paintings", "--style-size", "8"], ["style_size"]),
    ],
)
def test_train_refuses(folder, args, words):
    before = listing(folder)
    failed(run("train", *SMALL, "-o", "bad.h5", *args, cwd=folder), *words)
    assert listing(folder) == before


def test_a_training_that_cannot_begin_leaves_the_old_model(folder):
    shutil.copy(folder / "many.h5", folder / "good.h5")
    before = (folder / "good.h5").read_bytes()
    args = ["--mode", "cin", "--content", "photos", "--styles", "paintings", "-o", "good.h5", "--overwrite"]
    failed(run("train", *SMALL, *args, "--size", "4000", cwd=folder), "pictures can be used")
    assert (folder / "good.h5").read_bytes() == before


def test_add_style_does_not_replace_its_own_model(folder):
    before = listing(folder)
    args = ["--content", "photos", "--steps", "2", "--loss-net", "loss.h5", "-o", "many.h5", "--overwrite"]
    failed(run("add-style", "many.h5", "new.png", *args, cwd=folder), "many.h5 is the model itself")
    assert listing(folder) == before


def test_masks_say_where_each_style_is(folder, any_model):
    """Black to the right: there is the photo; between the two, and in either kind of model."""
    mask = np.zeros((20, 24, 3), np.float32)
    mask[:, :12] = 1
    save_image(folder / "left.png", mask)
    save_image(folder / "right.png", 1 - mask)
    photo = load_image(folder / "photos" / "photos0.png").pixels
    for model in (["--model", "many.h5", "--style"], ["--model", any_model, "--style-image"]):
        one, other = ["paintings0", "paintings1"] if "many.h5" in model else ["new.png", "paintings/paintings1.png"]
        use = [*model[:2], model[2], one]
        whole, left, both = (f"{name}{model[1]}.png" for name in ("whole", "left", "both"))
        assert stylize(folder, *use, "-o", whole).returncode == 0
        assert stylize(folder, *use, "--mask", "left.png", "-o", left).returncode == 0
        args = [*use, model[2], other, "--mask", "left.png", "--mask", "right.png", "-o", both]
        result = stylize(folder, *args)
        assert result.returncode == 0, result.stderr
        assert read_recipe(folder / both)["masks"] == ["left.png", "right.png"]
        pixels = {name: load_image(folder / name).pixels for name in (whole, left, both)}
        W = photo.shape[1]
        np.testing.assert_allclose(pixels[left][:, : W // 3], pixels[whole][:, : W // 3], atol=0.01)
        np.testing.assert_allclose(pixels[left][:, -W // 3 :], photo[:, -W // 3 :], atol=0.01)
        np.testing.assert_allclose(pixels[both][:, : W // 3], pixels[whole][:, : W // 3], atol=0.01)
        assert np.abs(pixels[both][:, -W // 3 :] - photo[:, -W // 3 :]).max() > 0.02
        failed(stylize(folder, *args[:-2], "--weight", "1", "--weight", "2"), "--mask", "no --weight")
        failed(
            stylize(folder, *use, "--mask", "left.png", "--mask", "right.png"),
            "expected one for each of 1 styles",
            "--mask",
        )
        failed(stylize(folder, *use, "--mask", "nowhere.png"), "nowhere.png")


def test_masks_of_one_name_and_a_model_of_one_style(folder):
    for name, level in (("a", 1.0), ("b", 0.0)):
        (folder / name).mkdir()
        save_image(folder / name / "mask.png", np.full((10, 12, 3), level, np.float32))  # as the photo, 48 x 40
    styles = ["--model", "many.h5", "--style", "paintings0", "--style", "paintings1"]
    both = stylize(folder, *styles, "--mask", "a/mask.png", "--mask", "b/mask.png", "-o", "both.png")
    assert both.returncode == 0, both.stderr
    assert stylize(folder, *styles[:4], "-o", "first.png").returncode == 0
    np.testing.assert_array_equal(*(load_image(folder / f"{name}.png").pixels for name in ("both", "first")))
    black = stylize(folder, "--model", "one.h5", "--mask", "b/mask.png", "-o", "none.png")
    assert black.returncode == 0, black.stderr
    photo = load_image(folder / "photos" / "photos0.png").pixels
    np.testing.assert_array_equal(load_image(folder / "none.png").pixels, photo)


def test_the_built_in_models_have_names(folder):
    listed = run("styles", cwd=folder)
    assert (
        "starry_night_van_gogh" in listed.stdout.split() and run("styles", "styles", cwd=folder).stdout == listed.stdout
    )
    by_name = stylize(folder, "--model", "styles", "--style", "scream_munch", "-o", "by_name.png")
    assert by_name.returncode == 0, by_name.stderr


# --- any painting -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def any_model(folder):
    args = ["--mode", "predict", "--content", "photos", "--styles", "paintings", *SMALL, "-o", "any.h5"]
    result = run("train", *args, cwd=folder)
    assert result.returncode == 0, result.stderr
    return "any.h5"


def test_any_painting_in_one_pass(folder, any_model):
    result = stylize(folder, "--style-image", "new.png", "--model", any_model, "--save-style", "mine.h5", "-o", "a.png")
    assert result.returncode == 0, result.stderr
    args = ["--style-image", "new.png", "--model", any_model, "--save-style", "mine.h5", "-o", "again.png"]
    failed(run("stylize", "photos/photos0.png", *args, cwd=folder), "mine.h5 exists already", "--overwrite")
    failed(run("stylize", "nowhere.png", *args[:-3], "other.h5", "-o", "again.png", cwd=folder), "nowhere.png")
    assert not {"other.h5", "again.png"} & {path.name for path in folder.iterdir()}
    assert "method predict" in result.stderr
    assert stylize(folder, "--style", "mine.h5", "--model", any_model, "-o", "b.png").returncode == 0
    a, b = (load_image(folder / name).pixels for name in ("a.png", "b.png"))
    np.testing.assert_array_equal(a, b)
    assert a.shape == (40, 48, 3)
    mix = ["--style-image", "new.png", "--style-image", "paintings/paintings0.png", "--weight", "1", "--weight", "2"]
    assert stylize(folder, *mix, "--model", any_model, "--strength", "0.4", "-o", "c.png").returncode == 0


def test_the_built_in_model_is_the_default(folder, any_model):
    (folder / "builtin").mkdir(exist_ok=True)
    for source, name in ((any_model, "any.h5"), ("many.h5", "styles.h5")):
        (folder / "builtin" / name).write_bytes((folder / source).read_bytes())
    where = {"NANOSTYLE_WEIGHTS": str(folder / "builtin")}
    result = run("stylize", "photos/photos1.png", "--style-image", "new.png", "-o", "d.png", cwd=folder, **where)
    assert result.returncode == 0 and "method predict, model" in result.stderr, result.stderr
    # Unless one of the options of Gatys' method is given.
    words = ["stylize", "photos/photos1.png", "--style-image", "new.png", "--loss-net", "loss.h5", "--iterations", "1"]
    result = run(*words, "-o", "g.png", cwd=folder, **where)
    assert result.returncode == 0 and "method gatys" in result.stderr, result.stderr
    result = run("stylize", "photos/photos1.png", "--style", "paintings1", "-o", "e.png", cwd=folder, **where)
    assert result.returncode == 0 and "method cin, model" in result.stderr, result.stderr


def test_style_map(folder, any_model):
    result = run("style-map", "paintings", "new.png", "--model", any_model, "-o", "map.png", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("paintings0: ") and len(result.stdout.splitlines()) == 3
    assert load_image(folder / "map.png").pixels.shape[1] > 500
    assert read_recipe(folder / "map.png")["model"] == "any.h5"
    assert run("style-map", "--model", "many.h5", "-o", "map2.png", cwd=folder).returncode == 0
    failed(run("style-map", "--model", any_model, "-o", "map3.png", cwd=folder), "add ART")


def test_evaluate(folder, any_model):
    judge = ["--content", "photos", "--size", "32", "--photos", "2", "--iterations", "3", "--loss-net", "loss.h5"]
    for model in ("many.h5", any_model):
        (folder / "s.json").unlink(missing_ok=True)
        result = run("evaluate", model, "--styles", "paintings", *judge, "--json", "s.json", cwd=folder)
        assert result.returncode == 0, result.stderr
        scores = json.loads((folder / "s.json").read_text())
        assert [score["style"] for score in scores] == ["paintings0", "paintings1"]
        assert "paintings1" in result.stdout and len(scores[0]["iterations"]) == 2
    failed(run("evaluate", "one.h5", "--styles", "paintings", *judge, cwd=folder), "new")
    before = listing(folder)
    again = ["evaluate", model, "--styles", "paintings", *judge, "--json"]
    failed(run(*again, "s.json", cwd=folder), "s.json exists already", "--overwrite")
    failed(run(*again, "nowhere/s.json", cwd=folder), "no folder nowhere")
    assert listing(folder) == before
    quiet = run(*again, "s.json", "--overwrite", "--quiet", cwd=folder)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
