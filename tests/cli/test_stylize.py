"""The command line as a user meets it: a subprocess, its exit status, its one line, its files."""

import shutil
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from nanostyle.backend.device import pick_device
from nanostyle.cli import command
from nanostyle.diagnostics.speed import Row
from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import save_image
from nanostyle.io.recipe import read_recipe
from nanostyle.io.weights import WeightFile, save_weights
from tests.support.command import environment, failed, listing, run
from tests.support.networks import vgg_parts
from tests.support.paths import ROOT

SMALL = ["--size", "48", "--iterations", "3"]


@pytest.fixture
def folder(tmp_path):
    """A photo, a painting and a tiny loss network."""
    y, x = np.mgrid[0:40, 0:60] / 60
    save_image(tmp_path / "photo.png", np.stack([x, y, 1 - x], -1).astype(np.float32))
    save_image(tmp_path / "art.jpg", np.random.default_rng(0).random((50, 50, 3), np.float32))
    save_weights(tmp_path / "loss.h5", WeightFile("features", *vgg_parts(), source="random", license="none"))
    (tmp_path / "cache").mkdir()
    return tmp_path


def stylize(folder, *args, photo="photo.png", art="art.jpg", **env):
    return run("stylize", photo, "--style-image", art, "--loss-net", "loss.h5", *SMALL, *args, cwd=folder, **env)


def test_stylize_writes_a_picture_of_the_photos_size_with_its_recipe(folder):
    result = run(
        "stylize", "photo.png", "--style-image", "art.jpg", "--loss-net", "loss.h5", "--iterations", 3, cwd=folder
    )
    assert result.returncode == 0, result.stderr
    picture = load_image(folder / "photo_art.png")
    assert picture.pixels.shape == (40, 60, 3)
    recipe = read_recipe(folder / "photo_art.png")
    assert recipe["iterations"] == 3 and recipe["iteration"] == 3 and recipe["styles"] == ["art.jpg"]
    assert set(recipe["terms"]) == {"content", "style", "tv"}
    assert "method gatys" in result.stderr and "content" in result.stderr and "3/3" in result.stderr


def test_quiet_is_quiet(folder):
    result = stylize(folder, "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_size_output_and_overwrite(folder):
    assert stylize(folder, "-o", "out.webp").returncode == 0
    assert load_image(folder / "out.webp").pixels.shape == (32, 48, 3)
    failed(stylize(folder, "-o", "out.webp"), "out.webp exists already", "--overwrite")
    assert stylize(folder, "-o", "out.webp", "--overwrite").returncode == 0


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_threads(folder):
    for name, threads in (("a.png", 1), ("b.png", 2), ("c.png", 3)):
        assert stylize(folder, "--init", "noise", "--seed", 7, "--threads", threads, "-o", name).returncode == 0
    pixels = [load_image(folder / name).pixels for name in ("a.png", "b.png", "c.png")]
    np.testing.assert_array_equal(pixels[0], pixels[1])
    np.testing.assert_array_equal(pixels[0], pixels[2])


def test_several_photos_go_on_after_a_bad_one(folder):
    (folder / "photos").mkdir()
    for name in ("a.png", "c.png"):
        (folder / "photos" / name).write_bytes((folder / "photo.png").read_bytes())
    (folder / "photos" / "b.png").write_bytes(b"")
    result = stylize(folder, "-o", "results", photo="photos")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-2:] == [
        "Error: 1 of 3 photos could not be stylized:",
        "  photos/b.png: photos/b.png is empty (0 bytes); get a fresh copy of it",
    ]
    assert "3 photos [" in result.stderr and "3/3" in result.stderr
    assert listing(folder / "results") == ["a_art.png", "c_art.png"]
    before = (folder / "results" / "a_art.png").stat().st_mtime_ns
    (folder / "photos" / "b.png").write_bytes((folder / "photo.png").read_bytes())
    failed(stylize(folder, "-o", "results", photo="photos"), "a_art.png exists already")
    result = stylize(folder, "-o", "results", "--skip-existing", photo="photos")
    assert result.returncode == 0 and "2 of 3 results exist already" in result.stderr, result.stderr
    assert listing(folder / "results") == ["a_art.png", "b_art.png", "c_art.png"]
    assert (folder / "results" / "a_art.png").stat().st_mtime_ns == before
    assert stylize(folder, "-o", "results", "--skip-existing", photo="photos").returncode == 0


def several(folder, *args, **env):
    """Six photos of other sizes, one of them bad, in one pass; two at once."""
    (folder / "photos").mkdir(exist_ok=True)
    photo = load_image(folder / "photo.png").pixels
    for i in range(6):
        save_image(folder / "photos" / f"{i}.png", photo[: 40 - 4 * i], overwrite=True)
    (folder / "photos" / "2.png").write_bytes(b"")
    style = ["--style", "scream_munch", "-o", "out"]
    return run("stylize", "photos", *style, *args, cwd=folder, **{"NANOSTYLE_THREADS": "2", **env})


def test_photos_at_once_are_told_in_order_and_come_out_as_one_by_one(folder):
    result = several(folder)
    assert result.returncode == 1
    told = [line.split("  ")[0] for line in result.stderr.splitlines() if line.startswith(("out", "photos/"))]
    assert [line[:12] for line in told] == [
        *(f"out/{i}_scream" for i in (0, 1)),
        "photos/2.png",
        *(f"out/{i}_scream" for i in (3, 4, 5)),
    ]
    assert "6 photos [" in result.stderr and "6/6" in result.stderr
    assert result.stderr.splitlines()[-2] == "Error: 1 of 6 photos could not be stylized:"
    together = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    shutil.rmtree(folder / "out")
    # A memory in which each must be alone, but in one piece: bands round otherwise.
    assert several(folder, "--max-memory", "1MB").returncode == 1
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == together
    shutil.rmtree(folder / "out")
    alone = ["--style", "scream_munch", "-o", "alone.png"]
    assert run("stylize", "photos/4.png", *alone, cwd=folder).returncode == 0
    assert (folder / "alone.png").read_bytes() == together["4_scream_munch.png"]


def test_ctrl_c_among_several_photos_leaves_whole_results_alone(folder):
    (folder / "photos").mkdir()
    for i in range(40):
        shutil.copy(folder / "photo.png", folder / "photos" / f"{i:02}.png")
    args = ["photos", "--style", "scream_munch", "--size", "600", "-o", "out", "--skip-existing"]
    with subprocess.Popen(
        [sys.executable, "-m", "nanostyle", "stylize", *args],
        cwd=folder,
        # A signal may come between the opening of a file and the `with` that closes it, which Python warns of.
        env=environment(NANOSTYLE_THREADS="2", PYTHONWARNINGS="error,ignore::ResourceWarning"),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:
            if line.startswith("out"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130, rest
    assert rest.splitlines()[-1] == "Interrupted" and "Traceback" not in rest
    left = listing(folder / "out")  # no claim, nothing half-written
    assert 0 < len(left) < 10 and all(name.endswith("_scream_munch.png") for name in left)
    assert all(load_image(folder / "out" / name).pixels.shape == (400, 600, 3) for name in left)


def test_photos_that_would_become_one_file_are_named(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()
        shutil.copy(folder / "photo.png", folder / name / "x.png")
    result = run("stylize", "one/x.png", "two/x.png", "--style-image", "art.jpg", "-o", "out", cwd=folder)
    failed(result, "one/x.png and two/x.png would both become out/x_art.png")
    assert not (folder / "out").exists()


def test_alpha_is_carried(folder):
    pixels = np.full((40, 60, 3), 0.5, np.float32)
    alpha = np.tile(np.linspace(0, 1, 60, dtype=np.float32), (40, 1))
    save_image(folder / "cut.png", pixels, alpha=alpha)
    assert stylize(folder, "--size", 60, photo="cut.png").returncode == 0
    np.testing.assert_allclose(load_image(folder / "cut_art.png").alpha, alpha, atol=1 / 255)


def test_colors_content_keeps_the_photos_colors(folder):
    """Each pixel is the photo's with one number added to its channels, cut off at black and white."""
    save_image(folder / "photo.png", np.tile(np.float32([0.2, 0.5, 0.4]), (40, 60, 1)))
    assert stylize(folder, "--colors", "content", "--iterations", 10, "--size", 60).returncode == 0
    photo, pixels = (load_image(folder / name).pixels for name in ("photo.png", "photo_art.png"))
    inside = (pixels > 0) & (pixels < 1)  # the channels that were not cut off tell the number
    added = np.where(inside, pixels - photo, 0).sum(axis=2) / np.maximum(inside.sum(axis=2), 1)
    added[(pixels == 0).all(axis=2)], added[(pixels == 1).all(axis=2)] = -1, 1
    assert np.abs(pixels - np.clip(photo + added[..., None], 0, 1)).max() < 2 / 255
    assert pixels.std(axis=(0, 1)).min() > 0.05  # the brightness is the style's: the photo is flat


def test_ctrl_c_saves_what_there_is(folder):
    slowly = ["--loss-net", "loss.h5", "--iterations", "100000", "--least-gain", "0", "--optimizer", "adam"]
    with subprocess.Popen(
        [sys.executable, "-m", "nanostyle", "stylize", "photo.png", "--style-image", "art.jpg", *slowly],
        cwd=folder,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:  # the first line of progress: it is at work
            if line.startswith("photo.png"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130, rest
    assert "Interrupted" in rest and "Traceback" not in rest
    assert load_image(folder / "photo_art.png").pixels.shape == (40, 60, 3)


# --- what goes wrong --------------------------------------------------------------------------------------


def test_ctrl_c_while_modules_are_read(folder):
    program = """
import builtins, runpy
real = builtins.__import__
def interrupted(name, *rest, **more):
    if name == "nanostyle.cli":
        raise KeyboardInterrupt
    return real(name, *rest, **more)
builtins.__import__ = interrupted
runpy.run_module("nanostyle", run_name="__main__")
"""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (130, "Interrupted\n")


def test_without_weights_it_says_where_it_looked_and_how_to_get_them(folder):
    # A package without the weights that ship with it: a copy of the sources, which goes before them.
    shutil.copytree(ROOT / "nanostyle", folder / "bare" / "nanostyle", ignore=shutil.ignore_patterns("__pycache__"))
    places = {"NANOSTYLE_WEIGHTS": str(folder / "none"), "PYTHONPATH": str(folder / "bare")}
    result = run("stylize", "photo.png", "--style-image", "art.jpg", cwd=folder, **places)
    failed(result, "loss.h5", "vgg19.h5", str(folder / "none"), "nanostyle weights fetch vgg19")


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("text.jpg", b"this is no picture", "text.jpg"),
        ("empty.png", b"", "empty.png"),
        ("cut.png", None, "cut.png"),
    ],
)
def test_bad_pictures(folder, name, content, word):
    if content is None:
        whole = (folder / "photo.png").read_bytes()
        content = whole[: len(whole) // 2]
    (folder / name).write_bytes(content)
    before = listing(folder)
    failed(stylize(folder, photo=name), word)
    failed(stylize(folder, art=name), word)
    assert listing(folder) == before


def test_missing_photo(folder):
    failed(stylize(folder, photo="nowhere.jpg"), "nowhere.jpg")


def test_a_picture_of_one_pixel(folder):
    save_image(folder / "one.png", np.zeros((1, 1, 3), np.float32))
    before = listing(folder)
    failed(stylize(folder, "--size", 1, photo="one.png"), "1x1 pixels are too few for", "at least 4x4")
    assert listing(folder) == before


def test_strokes_of_a_trained_model(folder):
    style = ["--style", "scream_munch"]
    for name, args in (("plain", []), ("own", ["--strokes", 80]), ("large", ["--strokes", 64])):
        result = run("stylize", "photo.png", *style, "--size", 80, *args, "-o", f"{name}.png", cwd=folder)
        assert result.returncode == 0, result.stderr
    plain, own, large = (load_image(folder / f"{name}.png").pixels for name in ("plain", "own", "large"))
    np.testing.assert_array_equal(own, plain)
    assert large.shape == plain.shape and (large != plain).any()
    assert [read_recipe(folder / f"{name}.png")["strokes"] for name in ("plain", "large")] == [None, 64]


def test_strokes_that_cannot_be(folder):
    failed(
        run("stylize", "photo.png", "--style", "scream_munch", "--strokes", 63, cwd=folder), "--strokes", "64<=x<=4096"
    )
    failed(stylize(folder, "--method", "gatys", "--strokes", 100), "strokes is for trained models", "--strokes")


def test_an_output_that_cannot_be_written(folder):
    before = listing(folder)
    failed(stylize(folder, "-o", "missing/out.png"), "missing")
    failed(stylize(folder, "-o", "photo.png/out.png"), "photo.png")
    failed(stylize(folder, "-o", "out.xyz"), ".xyz", ".png")
    assert listing(folder) == before


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--style-weight", "-1"], ["style_weight", "-1"]),
        (["--style-weight", "much"], ["--style-weight", "much"]),
        (["--iterations", "-5"], ["iterations", "-5"]),
        (["--style-layers", "relu9_9"], ["relu9_9", "it has conv1_1"]),
        (["--weight", "1", "--weight", "2"], ["one for each of 1 styles"]),
        (["--threads", "0"], ["threads", "0"]),
        (["--device", "cuda"], ["device cuda", "--device cpu"]),
        (["--nonsense"], ["--nonsense"]),
    ],
)
def test_bad_options(folder, args, words):
    if args[-1] == "cuda" and pick_device().is_gpu:
        pytest.skip("there is a GPU")
    before = listing(folder)
    failed(stylize(folder, *args), *words)
    assert listing(folder) == before


def test_no_style(folder):
    failed(run("stylize", "photo.png", cwd=folder), "--style-image")


@pytest.mark.parametrize("damage", ["cut", "text", "layer", "shape", "nan"])
def test_bad_weights(folder, damage):
    config, parameters = vgg_parts()
    path = folder / "bad.h5"
    if damage == "layer":
        del parameters["conv2_1/bias"]
    elif damage == "shape":
        parameters["conv2_1/weight"] = parameters["conv2_1/weight"][:, :, :-1]
    save_weights(path, WeightFile("features", config, parameters, source="random", license="none"))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-5000])
    elif damage == "text":
        path.write_text("not HDF5")
    elif damage == "nan":
        with h5py.File(path, "r+") as file:
            file["conv2_1/weight"][0, 0, 0, 0] = np.nan
    before = listing(folder)
    failed(stylize(folder, "--loss-net", "bad.h5"), "bad.h5")
    assert listing(folder) == before


# --- the other commands -----------------------------------------------------------------------------------


def test_help_lists_the_commands(folder):
    result = run("-h", cwd=folder)
    assert result.returncode == 0
    for name in ("stylize", "train", "add-style", "styles", "weights", "gradcheck", "bench", "info"):
        assert name in result.stdout
    assert run("--version", cwd=folder).stdout.startswith("nanostyle, version ")


def test_info(folder):
    result = run("info", cwd=folder)
    assert result.returncode == 0 and "numpy:" in result.stdout and "threads:" in result.stdout


def test_weights_info(folder):
    result = run("weights", "info", "loss.h5", cwd=folder)
    assert result.returncode == 0 and "conv1_1 relu1_1" in result.stdout
    failed(run("weights", "info", "photo.png", cwd=folder), "photo.png")


def test_weights_that_are_there_are_not_fetched_again(folder):
    there = folder / "vgg19.h5"
    shutil.copy(folder / "loss.h5", there)
    offline = ["weights", "fetch", "vgg19-torchvision", "--url", "http://127.0.0.1:9/vgg19.pth", "-o", there]
    result = run(*offline, cwd=folder)
    assert result.returncode == 0 and "exists already" in result.stdout, result.stderr
    failed(run(*offline, "--overwrite", cwd=folder), "cannot fetch http://127.0.0.1:9")
    there.write_bytes(there.read_bytes()[:1000])
    failed(run(*offline, cwd=folder), "vgg19.h5", "cut short")


def test_weights_convert_refuses_a_hostile_pickle(folder):
    (folder / "evil.pth").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    before = listing(folder)
    failed(run("weights", "convert", "evil.pth", "out.h5", cwd=folder), "evil.pth")
    assert listing(folder) == before


def test_gradcheck_prints_a_table_and_passes(folder):
    result = run("gradcheck", cwd=folder)
    assert result.returncode == 0
    assert "conv_transpose2d" in result.stdout and "worst relative error" in result.stdout
    assert "FAIL" not in result.stdout


def test_debug_shows_the_traceback(folder):
    result = stylize(folder, "--debug", photo="nowhere.jpg")
    assert result.returncode == 2 and "Traceback" in result.stderr


def test_bench_networks_prints_a_row_for_each(folder, monkeypatch):
    """The command's own table, on networks that take no time."""
    rows = [Row("transformer 8x8", 1.5, 20.0, 0.25)]
    monkeypatch.setattr("nanostyle.cli.bench.speed.networks", lambda rounds: iter(rows * rounds))
    result = CliRunner().invoke(command, ["bench", "networks", "--rounds", "2"])
    assert result.exit_code == 0, result.output
    assert result.output.count("transformer 8x8") == 2
    assert "1.5 ms" in result.output and "25 % of GEMM" in result.output
