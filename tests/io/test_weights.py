import json

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanostyle.cli.weights import describe
from nanostyle.io.atomic import sha256
from nanostyle.io.foreign.arrays import open_arrays
from nanostyle.io.quantize import cluster, quantize
from nanostyle.io.weights import WeightFile, load_weights, save_weights
from nanostyle.models.loss_network import load_features
from nanostyle.models.registry import FILES, cache_folder, find
from nanostyle.nets.vgg_config import check_features

CONFIG = {
    "layers": ["conv1_1", "relu1_1", "pool1", "conv2_1", "relu2_1"],
    "padding": "zero",
    "pooling": "max",
    "preprocess": {"order": "BGR", "scale": 255.0, "mean": [104.0, 117.0, 124.0], "std": [1.0, 1.0, 1.0]},
}


def small(**changes):
    """A loss network of two convolutions, 3 -> 4 -> 5 channels."""
    rng = np.random.default_rng(0)
    parameters = {
        "conv1_1/weight": rng.standard_normal((3, 3, 3, 4), np.float32),
        "conv1_1/bias": rng.standard_normal(4, np.float32),
        "conv2_1/weight": rng.standard_normal((3, 3, 4, 5), np.float32),
        "conv2_1/bias": rng.standard_normal(5, np.float32),
    }
    fields = {"kind": "features", "config": CONFIG, "parameters": parameters, "source": "here", "license": "MIT"}
    return WeightFile(**(fields | changes))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "net.h5"
    save_weights(path, small())
    return path


def refusal(path, **options):
    with pytest.raises(ValueError) as caught:
        (load_weights if options else load_features)(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


# --- round trips ------------------------------------------------------------------------------------------------


def test_reading_needs_no_lock(tmp_path):
    fcntl = pytest.importorskip("fcntl", reason="the system has no such locks")
    path = tmp_path / "small.h5"
    save_weights(path, small())
    with path.open("rb") as held:  # as good as a file system whose lock server is away
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="lock"):
            h5py.File(path, "r", locking=True)
        assert load_weights(path).parameters.keys() == small().parameters.keys()
        assert describe(path)["parameters"] > 0
        with open_arrays(path) as arrays:
            assert arrays


def test_what_is_saved_is_loaded(path):
    written, read = small(), load_weights(path, "features")
    assert (read.kind, read.config, read.source, read.license) == ("features", CONFIG, "here", "MIT")
    assert set(read.parameters) == set(written.parameters)
    for name, array in read.parameters.items():
        np.testing.assert_array_equal(array, written.parameters[name])
        assert array.dtype == np.float32 and array.flags.c_contiguous and not array.flags.writeable


def test_the_same_weights_make_the_same_bytes(path, tmp_path):
    save_weights(tmp_path / "again.h5", small())
    assert sha256(path) == sha256(tmp_path / "again.h5")


def test_float16_costs_an_eleventh_bit(tmp_path):
    save_weights(tmp_path / "half.h5", small(), storage="float16")
    for name, array in load_weights(tmp_path / "half.h5").parameters.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, small().parameters[name], rtol=2**-11)


def test_eight_bits_cost_half_a_step_of_the_channel(tmp_path):
    save_weights(tmp_path / "byte.h5", small(), storage="uint8")
    read = load_weights(tmp_path / "byte.h5").parameters
    for name, array in small().parameters.items():
        step = np.ptp(array, axis=(0, 1, 2)) / 255 if name.endswith("weight") else 0
        assert read[name].dtype == np.float32
        assert (np.abs(read[name] - array) <= 0.501 * step).all()


def test_eight_bits_keep_a_constant_channel_exactly():
    q, scale, offset = quantize(np.full((3, 3, 2, 4), 0.3, np.float32))
    np.testing.assert_array_equal(q * scale + offset, np.full((3, 3, 2, 4), 0.3, np.float32))


def test_storage_none_and_extras_keep_every_type(tmp_path):
    rng = np.random.default_rng(1)
    parameters = {"a/weight": rng.standard_normal((2, 3)), "a/bias": rng.standard_normal(3).astype(np.float32)}
    extras = {
        "adam/m/a/weight": rng.standard_normal((2, 3)),
        "step": np.int64(2**40),
        "half": np.float16([1.5]),
        "mask": np.array([True, False]),
        "thumbnails/0": np.frombuffer(b"\x89PNG\0\0", np.uint8),
        "none": np.zeros((0, 3), np.float32),
    }
    save_weights(tmp_path / "c.h5", WeightFile("checkpoint", {}, parameters, "", "", extras), storage=None)
    read = load_weights(tmp_path / "c.h5")
    for ours, theirs in ((read.parameters, parameters), (read.extras, extras)):
        assert set(ours) == set(theirs)
        for name in theirs:
            assert ours[name].dtype == theirs[name].dtype
            np.testing.assert_array_equal(ours[name], theirs[name])


# --- writing that is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_written(path, value):
    before = path.read_bytes()
    weights = small()
    weights.parameters["conv1_1/bias"][0] = value
    with pytest.raises(ValueError, match=r"net\.h5: conv1_1/bias holds NaN or infinity"):
        save_weights(path, weights)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_what_float16_cannot_hold_is_not_written(path):
    weights = small()
    weights.parameters["conv1_1/bias"][0] = 1e5
    with pytest.raises(ValueError, match="conv1_1/bias is too large for float16"):
        save_weights(path, weights, storage="float16")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="cannot write"):
        save_weights(tmp_path / "no" / "net.h5", small())


# --- files that are refused -------------------------------------------------------------------------------------


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.h5: there is no such file"):
        load_weights(tmp_path / "nothing.h5")
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        load_weights(tmp_path)


@pytest.mark.parametrize("content", [b"", b"a text file, not weights\n", b"PK\x03\x04"])
def test_not_hdf5(tmp_path, content):
    (tmp_path / "x.h5").write_bytes(content)
    assert "no nanostyle file" in refusal(tmp_path / "x.h5")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fraction=st.floats(0, 0.999))
def test_cut_anywhere(path, fraction):
    whole = path.read_bytes()
    cut = path.with_name("cut.h5")
    cut.write_bytes(whole[: int(len(whole) * fraction)])
    refusal(cut)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), signed=st.booleans())
def test_random_bytes(tmp_path, content, signed):
    (tmp_path / "r.h5").write_bytes(b"\x89HDF\r\n\x1a\n" * signed + content)
    refusal(tmp_path / "r.h5")


def test_wrong_kind(path):
    said = refusal(path, kind=("transformer", "predictor"))
    assert "it is a loss network, expected a model of `nanostyle train` or a model for any painting" in said
    assert load_weights(path, ("transformer", "features")).kind == "features"


@pytest.mark.parametrize(
    "attribute, value, message",
    [
        ("format", b"other", "it is not a nanostyle file"),
        ("format", 7, "attribute format is missing, or of another type"),
        ("version", 2, "it is of version 2, this nanostyle reads version 1"),
        ("version", b"one", "attribute version is missing, or of another type"),
        ("kind", np.zeros(3), "attribute kind is missing, or of another type"),
        ("config", b"{", "Expecting property name"),
        ("config", b"[" * 50_000, "recursion"),
        ("config", b"[]", "its config is not a JSON object"),
        ("config", "{}", "attribute config is missing, or of another type"),  # of variable length: in the global heap
        ("license", None, "attribute license is missing"),
    ],
)
def test_wrong_attributes(path, attribute, value, message):
    with h5py.File(path, "r+") as file:
        del file.attrs[attribute]
        if value is not None:
            file.attrs[attribute] = np.bytes_(value) if isinstance(value, bytes) else value
    assert message in refusal(path)


def test_a_config_that_an_attribute_cannot_hold(path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"the config takes .* bytes, at most 60000; arrays belong into extras"):
        save_weights(path, small(config=CONFIG | {"order": list(range(20_000))}))
    assert path.read_bytes() == before


def test_texts_of_any_language_and_none(tmp_path):
    save_weights(tmp_path / "t.h5", small(source="", license="Ölgemälde, 絵"))
    assert load_weights(tmp_path / "t.h5").source == ""
    assert load_weights(tmp_path / "t.h5").license == "Ölgemälde, 絵"


def test_a_file_of_another_program(tmp_path):
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        file["block1_conv1/kernel:0"] = np.zeros(3)
    assert "`nanostyle weights convert`" in refusal(tmp_path / "keras.h5")


def change(path, name, array):
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if array is not None:
            file[name] = array


@pytest.mark.parametrize(
    "name, array, message",
    [
        ("conv2_1/weight", None, "conv2_1 lacks its weight or its bias"),
        ("conv2_1/bias", None, "conv2_1 lacks its weight or its bias"),
        ("conv2_1/bias", np.zeros(4, np.float32), "conv2_1/bias is (4,), must be (5,)"),
        ("conv2_1/weight", np.zeros((3, 3, 3, 5), np.float32), "is (3, 3, 3, 5), must be (K, K, 4, Cout)"),
        ("conv2_1/weight", np.zeros((2, 2, 4, 5), np.float32), "with K odd"),
        ("conv2_1/weight", np.float32(0), "conv2_1/weight is ()"),
        ("conv2_1/weight", np.full((3, 3, 4, 5), np.nan, np.float32), "'conv2_1/weight' holds NaN or infinity"),
        ("relu2_1/map", np.zeros((4, 3), np.float32), "relu2_1/map is (4, 3), must be (5, M)"),
        ("relu2_1/map", np.zeros(5, np.float32), "relu2_1/map is (5,), must be (5, M)"),
        ("conv2_1/weight", "text", "'conv2_1/weight' is not an array of numbers"),
    ],
)
def test_wrong_parameters(path, name, array, message):
    change(path, name, array)
    assert message in refusal(path)


def test_parameters_of_no_layer_are_listed(path):
    with h5py.File(path, "r+") as file:
        for i in range(8):
            file[f"fc{i}\n/weight"] = np.zeros(2, np.float32)
    message = refusal(path)
    assert r"'fc0\n/weight' belongs to no layer" in message
    assert message.endswith("and 3 more")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"layers": ["conv1_1", "norm1_1"]}, "layers must be a list of names"),
        ({"layers": 3}, "layers must be a list of names"),
        ({"layers": []}, "at least one name"),
        ({"layers": ["conv1_1", "conv1_1"]}, "each once"),
        ({"padding": "edge"}, "padding must be zero or reflect"),
        ({"pooling": None}, "pooling must be max or avg"),
        ({"preprocess": None}, "preprocess must have the order"),
        ({"preprocess": CONFIG["preprocess"] | {"std": [1, 0, 1]}}, "three positive std"),
        ({"preprocess": CONFIG["preprocess"] | {"mean": [1, 2]}}, "three means"),
        ({"preprocess": CONFIG["preprocess"] | {"scale": "255"}}, "one scale"),
    ],
)
def test_wrong_descriptions(change, message):
    with pytest.raises(ValueError, match=message):
        check_features(CONFIG | change, small().parameters)


# --- hostile HDF5 -----------------------------------------------------------------------------------------------


def test_a_dataset_that_claims_terabytes(path):
    with h5py.File(path, "r+") as file:
        file.create_dataset("huge", (1 << 40,), np.float32)
    assert "'huge' is not all there, or is packed" in refusal(path)


def test_a_dataset_that_unpacks_to_gigabytes(path):
    with h5py.File(path, "r+") as file:
        bomb = file.create_dataset("bomb", (1 << 30,), np.uint8, chunks=(1 << 20,), compression="gzip")
        bomb[: 1 << 20] = 0
    assert "'bomb' is not all there, or is packed" in refusal(path)


def test_links_and_data_elsewhere(path, tmp_path):
    (tmp_path / "secret").write_bytes(b"\0" * 16)
    layout = h5py.VirtualLayout((2,), np.float32)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (2,))
    plants = [
        ("'out' is a link", lambda f: f.__setitem__("out", h5py.ExternalLink("/etc/passwd", "/"))),
        ("'soft' is a link", lambda f: f.__setitem__("soft", h5py.SoftLink("/conv1_1"))),
        ("in another file", lambda f: f.create_dataset("x", (2,), "f4", external=[(tmp_path / "secret", 0, 8)])),
        ("in another file", lambda f: f.create_virtual_dataset("v", layout)),
        ("under two names", lambda f: f["conv1_1"].__setitem__("loop", f["conv1_1"])),
        ("not an array of numbers", lambda f: f.create_dataset("ref", data=f.ref, dtype=h5py.ref_dtype)),
    ]
    clean = path.read_bytes()
    for message, plant in plants:
        path.write_bytes(clean)
        with h5py.File(path, "r+") as file:
            plant(file)
        assert message in refusal(path)


def test_a_scale_that_is_not_one_per_channel(tmp_path):
    save_weights(tmp_path / "q.h5", small(), storage="uint8")
    with h5py.File(tmp_path / "q.h5", "r+") as file:
        file["conv1_1/weight"].attrs["scale"] = np.zeros(3, np.float32)
    assert "needs a scale and an offset for each output channel" in refusal(tmp_path / "q.h5")


# --- finding and describing -------------------------------------------------------------------------------------


def test_find_looks_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("NANOSTYLE_WEIGHTS", str(tmp_path / "own"))
    monkeypatch.setattr("nanostyle.models.registry.cache_folder", lambda: tmp_path / "cache")
    for folder in ("own", "cache"):
        (tmp_path / folder).mkdir()
    (tmp_path / "cache" / "vgg16.h5").touch()
    assert find("vgg16") == tmp_path / "cache" / "vgg16.h5"
    (tmp_path / "own" / "vgg16.h5").touch()
    assert find("vgg16") == tmp_path / "own" / "vgg16.h5"
    assert find(tmp_path / "own" / "vgg16.h5") == tmp_path / "own" / "vgg16.h5"


def test_find_says_where_it_looked_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("nanostyle.models.registry.places", lambda name: [tmp_path / x / FILES[name] for x in "ab"])
    with pytest.raises(FileNotFoundError) as caught:
        find("vgg19")
    message = str(caught.value)
    assert str(tmp_path / "a" / "vgg19.h5") in message and str(tmp_path / "b" / "vgg19.h5") in message
    assert message.endswith("nanostyle weights fetch vgg19")
    with pytest.raises(FileNotFoundError, match=r"loss\.h5.*get others with: nanostyle weights fetch vgg19"):
        find("builtin")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*my\.h5"):
        find(tmp_path / "my.h5")
    with pytest.raises(ValueError, match="there is no network vgg17; known are builtin, vgg16, vgg19"):
        find("vgg17")


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_folder() == tmp_path / "nanostyle"


def test_describe(path):
    said = describe(path)
    assert said["kind"] == "features"
    assert said["parameters"] == 3 * 3 * 3 * 4 + 4 + 3 * 3 * 4 * 5 + 5
    assert said["bytes"] == path.stat().st_size
    assert said["storage"] == "float32"
    assert said["sha256"] == sha256(path)
    assert json.loads(said["preprocessing"]) == CONFIG["preprocess"]


# --- k-means ----------------------------------------------------------------------------------------------------


def test_clusters_are_better_than_equal_steps_and_are_exact_the_second_time():
    weight = np.random.default_rng(0).standard_normal((3, 3, 16, 32)).astype(np.float32) ** 3
    indices, table = cluster(weight)
    again, same = cluster(table[indices])
    np.testing.assert_array_equal(same[again], table[indices])
    step = (weight.max() - weight.min()) / 255
    equal = np.rint((weight - weight.min()) / step) * step + weight.min()
    assert ((table[indices] - weight) ** 2).mean() < ((equal - weight) ** 2).mean() / 2


@given(st.lists(st.sampled_from([0.0, -1.5, 3e-9, 7e8]), max_size=12))
def test_few_values_are_kept_exactly(values):
    array = np.float32(values)
    indices, table = cluster(array)
    np.testing.assert_array_equal(table[indices], array)
    assert table.shape == (256,) and indices.dtype == np.uint8


def test_clustered_weights_are_saved_and_loaded(tmp_path):
    save_weights(tmp_path / "k.h5", small(), storage="kmeans8")
    for name, array in load_features(tmp_path / "k.h5").parameters.items():
        np.testing.assert_array_equal(array, small().parameters[name])  # each has fewer than 256 values


@pytest.mark.parametrize("table", [np.zeros(255, np.float32), np.zeros(256, np.float64), np.full(256, np.nan, "f4")])
def test_a_wrong_table_is_refused(tmp_path, table):
    path = tmp_path / "k.h5"
    save_weights(path, small(), storage="kmeans8")
    with h5py.File(path, "r+") as file:
        file["conv1_1/weight"].attrs["table"] = table
    assert "conv1_1/weight" in refusal(path)
