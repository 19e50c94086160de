import json
import os
import shutil
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nanostyle.autograd.tensor import Tensor
from nanostyle.errors import NanostyleError
from nanostyle.io.image_read import decode_image
from nanostyle.io.pictures import find_pictures, load_short, style_files
from nanostyle.io.resample import resize
from nanostyle.io.weights import WeightFile, load_weights, save_weights
from nanostyle.methods.predict import train_predict
from nanostyle.models.predictor import (
    Predictor,
    load_backbone,
    load_predictor,
    save_predictor,
)
from nanostyle.models.style import Style, load_style, save_style
from nanostyle.nets.predictor import PredictionNet, VggBackbone
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nn.module import parameters, state
from nanostyle.training.loop import training_folder
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions
from nanostyle.training.predict_task import PredictTask
from tests.support import tiny
from tests.support.networks import vgg_parts

OPTIONS = {
    "batch": 3,
    "size": 32,
    "width": 0.125,
    "photo_share": 0.25,
    "preview_every": 50,
    "checkpoint_every": 2,
    **tiny.LAYERS,
}


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Folders of photos and of paintings."""
    folder = tmp_path_factory.mktemp("data")
    tiny.write_pictures(folder / "photos", 5)
    tiny.write_pictures(folder / "paintings", 7, size=(36, 44), seed=1)
    return folder / "photos", folder / "paintings"


def training(data, output, *, steps=8, resume=False, overwrite=False, kind="vgg", backbone=None, **options):
    photos, paintings = data
    settings = TrainOptions(**{**OPTIONS, "steps": steps, **options})
    if backbone is None:
        backbone = VggBackbone(*vgg_parts()) if kind == "vgg" else load_backbone("conv")
    files = style_files([paintings])
    how = {"resume": resume, "overwrite": overwrite, "backbone": backbone}
    return train_predict(find_pictures(photos), files, tiny.loss_network(), settings, output, **how)


@pytest.fixture(scope="session")
def finished(data, tmp_path_factory):
    """The model of an undisturbed training of 8 steps."""
    output = tmp_path_factory.mktemp("finished") / "any.h5"
    list(training(data, output))
    return output


@pytest.fixture(scope="session")
def predictor(finished):
    return load_predictor(finished)


def task_of(paintings, **options):
    rng = np.random.default_rng(0)
    transformer = TransformerNet(transformer_config("ghiasi", width=0.125), rng)
    net = PredictionNet(transformer, VggBackbone(*vgg_parts()), rng)
    objective = Objective(tiny.loss_network(), TrainOptions(**{**OPTIONS, **options}))
    return PredictTask(net, paintings, objective)


def some_picture(seed=0, height=40, width=52):
    return tiny.picture(np.random.default_rng(seed), height, width)


# --- training -----------------------------------------------------------------------------------------------


def test_the_loss_falls(data, tmp_path):
    steps = list(training(data, tmp_path / "any.h5", steps=40, lr=3e-3, photo_share=0))
    assert np.mean([s.terms["style"] for s in steps[-8:]]) < 0.6 * np.mean([s.terms["style"] for s in steps[:4]])
    assert {tuple(step.terms) for step in steps} == {("content", "style", "grid")}


@pytest.mark.parametrize("stop", [1, 4, 7])
@pytest.mark.parametrize("kind", ["vgg", "conv"])
def test_a_resumed_run_ends_as_an_undisturbed_one(data, finished, tmp_path, stop, kind):
    whole = finished
    if kind == "conv":
        whole = tmp_path / "whole.h5"
        list(training(data, whole, kind=kind))
    output = tmp_path / "any.h5"
    run = training(data, output, kind=kind)
    for _ in range(stop):
        next(run)
    run.close()
    assert [s.step for s in training(data, output, kind=kind, resume=True)] == list(range(stop + 1, 9))
    ours, theirs = (load_weights(training_folder(path) / "checkpoint.h5", "checkpoint") for path in (output, whole))
    for a, b in ((ours.parameters, theirs.parameters), (ours.extras, theirs.extras)):
        assert a.keys() == b.keys()
        assert [name for name in a if a[name].tobytes() != b[name].tobytes()] == []


def test_a_frozen_backbone_stays_as_it_is_and_a_free_one_does_not(data, tmp_path):
    start = state(VggBackbone(*vgg_parts()))
    for finetune in (False, True):
        output = tmp_path / f"{finetune}.h5"
        list(training(data, output, steps=2, finetune=finetune))
        end = load_predictor(output).net.predictor.backbone
        same = [np.array_equal(value, start[name]) for name, value in state(end).items()]
        assert all(same) != finetune


def test_start_from_begins_with_a_trained_model(data, finished, tmp_path):
    list(training(data, tmp_path / "more.h5", steps=0, width=1.0, start_from=str(finished), seed=5))
    base, more = load_predictor(finished), load_predictor(tmp_path / "more.h5")
    assert more.recipe["options"]["start_from"] == "any.h5"
    for name, value in state(base.net).items():
        np.testing.assert_array_equal(state(more.net)[name], value, err_msg=name)
    # Its backbone can be had by its name, and another one does not fit.
    list(training(data, tmp_path / "further.h5", steps=1, start_from=str(finished), backbone=load_backbone(finished)))
    with pytest.raises(NanostyleError, match="has another backbone"):
        next(training(data, tmp_path / "other.h5", kind="conv", start_from=str(finished)))


def test_other_paintings_or_another_backbone_cannot_resume(data, tmp_path):
    output = tmp_path / "any.h5"
    list(training(data, output, steps=2))
    with pytest.raises(NanostyleError, match=r"cannot resume: (network|backbone) was"):
        list(training(data, output, kind="conv", resume=True))
    tiny.write_pictures(tmp_path / "others", 8, size=(36, 44))
    with pytest.raises(NanostyleError, match=r"cannot resume: paintings was '7 .*' in .* and is '8 "):
        list(training((data[0], tmp_path / "others"), output, resume=True))


def test_an_unreadable_painting_costs_nothing_but_itself(data, tmp_path):
    paths = tiny.write_pictures(tmp_path / "paintings", 4, size=(36, 44))
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    paths[2].write_text("no picture")
    output = tmp_path / "any.h5"
    steps = list(training((data[0], tmp_path / "paintings"), output, steps=3, preview_every=3))
    assert len(steps) == 3
    assert steps[-1].skipped.keys() == set(paths[1:3])
    records = [json.loads(line) for line in (tmp_path / "any.training" / "log.jsonl").read_text().splitlines()]
    assert [r["styles"].keys() for r in records if "styles" in r] == [{"00"}]


def test_without_a_usable_painting_there_is_nothing_to_learn(data, tmp_path):
    with pytest.raises(ValueError, match="styles: expected paintings to learn from"):
        task_of({})
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    with pytest.raises(NanostyleError, match=r"none of the 1 pictures can be used for training; the first: .*bad\.png"):
        task_of({"bad": bad})


def test_previews_show_paintings_that_are_not_trained_on(data, tmp_path):
    tiny.write_pictures(tmp_path / "paintings", 31, size=(33, 36))
    files = style_files([tmp_path / "paintings"])
    task = task_of(files)
    assert len(task.held_out) == 3
    assert sorted([*task.held_out, *task.learned]) == sorted(files)
    trained = {path.stem for path in task._pictures.files}
    assert trained == set(task.learned)
    sheet, measured = task.preview([some_picture(), some_picture(1)])
    assert sheet.ndim == 3
    assert set(task.held_out) < measured.keys()
    assert len(measured) == 6


def test_few_paintings_are_all_trained_on(data):
    assert task_of(style_files([data[1]])).held_out == []


@given(
    share=st.floats(0, 0.99),
    batch=st.integers(1, 9),
    start=st.integers(0, 10_000),
)
@example(5 / 6, 6, 3693)
@example(0.7999999999999999, 5, 8743)
def test_a_share_of_photos_is_its_own_style(share, batch, start):
    task = object.__new__(PredictTask)
    task._objective = type("Objective", (), {"options": TrainOptions(photo_share=share, batch=batch)})
    counts = [task.own_at(step, batch) for step in range(start, start + 50)]
    assert all(0 <= count < batch for count in counts)  # there is always a painting
    if share * batch <= batch - 1:
        assert abs(sum(counts) - 50 * share * batch) <= 1 + 1e-6


def test_its_own_style_is_learned_by_the_distance_of_pixels(data):
    task = task_of(style_files([data[1]]), photo_share=0.9, photo_weight=2.0, content_weight=0.0)
    photos = np.stack([some_picture(s, 32, 32) for s in range(3)])
    assert task.own_at(1, 3) == 2
    _, terms = task.losses(photos, **task.inputs(1, 3))
    terms = {name: term.item() for name, term in terms.items()}
    y = task.net(Tensor(photos[:2]), task.net.predictor.embed(photos[:2])).data
    assert terms["photo"] > 0
    # Batch norm looks at all three in training, so the two alone give nearly the same.
    assert terms["photo"] == pytest.approx(2.0 * np.mean((y - photos[:2]) ** 2) * 2 / 3, rel=0.5)


def test_step_by_step_or_out_of_order_the_paintings_are_the_same(data):
    task = task_of(style_files([data[1]]))
    in_order = [task._paintings(step) for step in range(5)]
    for step in (3, 0, 4):
        np.testing.assert_array_equal(task._paintings(step), in_order[step])
    assert any((a != b).any() for a, b in pairwise(in_order))


# --- the file -----------------------------------------------------------------------------------------------


def test_a_model_comes_back_as_it_was_written(predictor, tmp_path):
    save_predictor(tmp_path / "again.h5", predictor)
    again = load_predictor(tmp_path / "again.h5")
    assert again.fingerprint == predictor.fingerprint
    assert again.style_size == 32
    assert again.net.config == predictor.net.config
    assert (again.recipe, again.source, again.license) == (predictor.recipe, predictor.source, predictor.license)
    assert again.recipe["paintings"] == 7
    assert not any(p.requires_grad for p in parameters(again.net).values())
    photo, style = some_picture(), predictor.style(some_picture(1), name="a")
    np.testing.assert_array_equal(again.render(photo, style), predictor.render(photo, style))


@pytest.mark.parametrize(("storage", "part", "tolerance"), [("float16", 0.75, 0.01), ("uint8", 0.5, 0.05)])
def test_smaller_files_give_nearly_the_same_picture(predictor, finished, tmp_path, storage, part, tolerance):
    save_predictor(tmp_path / "small.h5", replace(predictor, storage=storage))
    small = load_predictor(tmp_path / "small.h5")
    assert small.storage == storage
    assert (tmp_path / "small.h5").stat().st_size < part * finished.stat().st_size
    photo, painting = some_picture(), some_picture(1)
    a, b = (p.render(photo, p.style(painting, name="a")) for p in (predictor, small))
    assert np.abs(a - b).mean() < tolerance


def test_the_file_of_a_full_network_with_a_compact_backbone_is_under_4_mb(tmp_path):
    rng = np.random.default_rng(0)
    backbone = VggBackbone(*vgg_parts(channels=(16, 32, 64, 128)))
    for width, storage in ((0.5, "float16"), (1.0, "uint8")):
        net = PredictionNet(TransformerNet(transformer_config("ghiasi", width=width), rng), backbone, rng)
        save_predictor(tmp_path / "any.h5", Predictor(net, 256, storage=storage))
        assert (tmp_path / "any.h5").stat().st_size < 4_000_000


def rewritten(source, target, change):
    """`source` with its config, a dict, changed in place by `change`."""
    file = load_weights(source)
    change(file.config)
    save_weights(target, WeightFile(file.kind, file.config, file.parameters, "", "", file.extras))
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("network"), "'network'"),
        (lambda c: c.update(network=[]), "indices"),
        (lambda c: c["network"].pop("backbone"), "'backbone'"),
        (lambda c: c["network"].update(backbone="conv"), "no attribute"),
        (lambda c: c["network"].update(backbone={"kind": "conv"}), "belongs to another network"),
        (lambda c: c["network"]["backbone"].update(layers=["conv1_1", "relu1_1"]), "belongs to no layer"),
        (lambda c: c["network"]["backbone"].update(preprocess={}), "preprocess must have"),
        (lambda c: c["network"]["transformer"].update(width=1e9), "width: expected a number from 0.05 to 2"),
        (lambda c: c["network"]["transformer"].update(width=1.0), "belongs to another network"),
        (lambda c: c["network"]["transformer"].update(arch="dumoulin", norm="conditional"), "belongs to another"),
        (lambda c: c.update(style_size=10**9), "style_size must be a whole number from 16 to 4096"),
        (lambda c: c.update(style_size=None), "style_size"),
        (lambda c: c.update(storage="int1"), "storage must be"),
    ],
)
def test_a_file_that_does_not_fit_its_description_is_refused_in_one_line(finished, tmp_path, change, message):
    path = rewritten(finished, tmp_path / "bad.h5", change)
    with pytest.raises(ValueError, match=message) as error:
        load_predictor(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_foreign_and_damaged_files_are_refused(finished, data, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.h5"):
        load_predictor(tmp_path / "none.h5")
    cut = tmp_path / "cut.h5"
    cut.write_bytes(finished.read_bytes()[:5000])
    for load in (load_predictor, load_style):
        with pytest.raises(ValueError, match=r"cannot read .*cut\.h5"):
            load(cut)
    with pytest.raises(ValueError, match="it is a model for any painting, expected a saved style"):
        load_style(finished)
    with pytest.raises(ValueError, match="it is the checkpoint of a training, expected a model for any painting"):
        load_predictor(training_folder(finished) / "checkpoint.h5")


def test_a_parameter_that_is_missing_is_named(finished, tmp_path):
    path = tmp_path / "bad.h5"
    path.write_bytes(finished.read_bytes())
    with h5py.File(path, "a") as file:
        del file["predictor/center"]
    with pytest.raises(ValueError, match=r"lacks 'predictor/center'"):
        load_predictor(path)


# --- use ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(40, 52), (33, 17), (8, 64), (1, 300)])
def test_a_photo_of_any_size_keeps_its_size(predictor, size):
    style = predictor.style(some_picture(1, 50, 31), name="a")
    for strength in (0.5, 1):
        result = predictor.render(some_picture(0, *size), style, strength=strength)
        assert result.shape == (*size, 3)
        assert result.dtype == np.float32
        assert 0 <= result.min() <= result.max() <= 1


def test_one_painting_is_enough(data, tmp_path):
    """Of one there is no spread to divide by; also where two are alike."""
    one = tmp_path / os.fsdecode(b"caf\xe9.png")
    shutil.copy(next(data[1].iterdir()), one)
    steps = list(training((data[0], one), tmp_path / "one.h5", steps=2))
    assert np.isfinite([step.loss for step in steps]).all()
    shutil.copy(one, tmp_path / "same.png")
    twice = tmp_path / "twice"
    twice.mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(one, twice / name)
    assert np.isfinite([step.loss for step in training((data[0], twice), tmp_path / "two.h5", steps=2)]).all()


def test_strength_goes_from_the_photo_to_the_painting_s_style(predictor):
    photo = some_picture()
    own, other = (predictor.style(p, name="") for p in (photo, some_picture(1)))
    ends = [predictor.render(photo, style) for style in (own, other)]
    np.testing.assert_allclose(predictor.render(photo, other, strength=0), photo, atol=1e-6)
    np.testing.assert_array_equal(predictor.render(photo, other, strength=1), ends[1])
    halfway = predictor.render(photo, predictor.blend([own, other])) + (photo - ends[0]) / 2
    np.testing.assert_allclose(predictor.render(photo, other, strength=0.5), halfway.clip(0, 1), atol=1e-5)
    assert np.abs(ends[0] - ends[1]).max() > 1e-3


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_is_from_0_to_1(predictor, strength):
    style = predictor.style(some_picture(), name="a")
    with pytest.raises(ValueError, match="strength: expected a number from 0 to 1"):
        predictor.render(some_picture(), style, strength=strength)


def test_a_painting_is_looked_at_in_the_size_of_the_training(predictor, data):
    small = load_short(find_pictures(data[1])[0], predictor.style_size)
    large = resize(small, (4 * small.shape[0], 4 * small.shape[1]))
    a, b = (predictor.style(p, name="").embedding for p in (small, large))
    unscaled = predictor.net.predictor.embed(large[None]).data[0]
    assert np.linalg.norm(a - b) < 0.1 * np.linalg.norm(a - unscaled)


def test_of_a_long_strip_the_middle_is_looked_at(predictor):
    square = some_picture(1, 40, 160)
    strip = np.concatenate([np.zeros((40, 3000, 3), np.float32), square, np.ones((40, 3000, 3), np.float32)], axis=1)
    a, b = (predictor.style(p, name="").embedding for p in (square, strip))
    np.testing.assert_array_equal(a, b)


def test_a_blend_is_the_weighted_mean(predictor):
    a, b = (predictor.style(some_picture(s), name=f"style{s}") for s in (1, 2))
    mixed = predictor.blend([a, b], [3, 1])
    np.testing.assert_allclose(mixed.embedding, 0.75 * a.embedding + 0.25 * b.embedding, atol=1e-6)
    assert mixed.name == "style1 + style2"
    np.testing.assert_array_equal(predictor.blend([a, b], [1, 0]).embedding, a.embedding)
    assert predictor.blend([a]) is a


def test_blends_that_make_no_sense_are_refused(predictor):
    a = predictor.style(some_picture(1), name="a")
    with pytest.raises(ValueError, match="got none"):
        predictor.blend([])
    for weights in ([1], [0, 0], [1, -1]):
        with pytest.raises(ValueError, match="weight: expected"):
            predictor.blend([a, a], weights)
    with pytest.raises(ValueError, match="weight: expected"):
        predictor.blend([a], [0])
    with pytest.raises(NanostyleError, match="'b' was predicted by another model than 'a'"):
        predictor.blend([a, replace(a, name="b", model="0" * 16)])


def test_a_saved_style_gives_the_same_picture(predictor, tmp_path):
    style = replace(predictor.style(some_picture(1), name="Große Welle"), license="CC0")
    save_style(tmp_path / "wave.h5", style)
    again = load_style(tmp_path / "wave.h5")
    assert (again.name, again.model, again.license) == ("Große Welle", predictor.fingerprint, "CC0")
    assert decode_image(again.thumbnail).shape == (40, 52, 3)
    photo = some_picture()
    np.testing.assert_array_equal(predictor.render(photo, again), predictor.render(photo, style))
    assert (tmp_path / "wave.h5").stat().st_size < 20_000


def test_a_style_of_another_model_is_refused(predictor, data, tmp_path):
    list(training(data, tmp_path / "other.h5", steps=1, seed=5))
    other = load_predictor(tmp_path / "other.h5")
    assert other.fingerprint != predictor.fingerprint
    style = other.style(some_picture(), name="wave")
    with pytest.raises(NanostyleError, match="style 'wave' was predicted by another model"):
        predictor.render(some_picture(), style)


GOOD = {"name": "a", "model": "0" * 16}


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (GOOD, {}),
        (GOOD, {"embedding": np.zeros(99, np.float32)}),
        (GOOD, {"embedding": np.zeros((1, 100), np.float32)}),
        ({"name": 1, "model": ""}, {"embedding": np.zeros(100, np.float32)}),
        ({"name": "a"}, {"embedding": np.zeros(100, np.float32)}),
    ],
)
def test_a_file_that_is_no_style_is_refused(tmp_path, config, parameters):
    save_weights(tmp_path / "bad.h5", WeightFile("style", config, parameters, "", ""))
    with pytest.raises(ValueError, match=r"cannot read .*bad\.h5: expected a name, a model and an embedding of 100"):
        load_style(tmp_path / "bad.h5")


def test_a_style_of_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="NaN"):
        save_style(tmp_path / "bad.h5", Style("a", np.full(100, np.nan, np.float32), "0"))
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=300))
def test_random_bytes_are_no_style(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot read"):
            load_style(path)
