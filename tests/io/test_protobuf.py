"""Files of Protocol Buffers, whole, damaged and hostile."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanostyle.io.foreign.arrays import contents, open_arrays
from nanostyle.io.foreign.protobuf import fields, wholes
from nanostyle.models.importers.networks import foreign_model
from tests.support.foreign_networks import (
    field,
    graphdef_bytes,
    magenta_arrays,
    onnx_bytes,
    onnx_node,
    onnx_tensor,
    pytorch_arrays,
    pytorch_nodes,
    varint,
)

BLOCKS = 1
ARRAYS = pytorch_arrays((2, 3, 4), blocks=BLOCKS)
WHOLE = {
    "onnx": onnx_bytes(ARRAYS, pytorch_nodes(BLOCKS), {"author": "me"}),
    "pb": graphdef_bytes(magenta_arrays((2, 3, 4, 3, 2), blocks=BLOCKS)),
}
on_files = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refusal(tmp_path, data, name="x.onnx"):
    (tmp_path / name).write_bytes(data)
    with pytest.raises((ValueError, OSError)) as caught:
        foreign_model(tmp_path / name)
    message = str(caught.value)
    assert name in message and "\n" not in message and len(message) < 1000
    return message


def test_arrays_and_what_else_is_in_an_onnx_file(tmp_path):
    (tmp_path / "x.onnx").write_bytes(WHOLE["onnx"])
    with open_arrays(tmp_path / "x.onnx") as found:
        assert found.keys() == ARRAYS.keys() and found.facts == {"author": "me"}
        assert [node.kind for node in found.nodes[:3]] == ["Pad", "Conv", "InstanceNormalization"]
        for name, array in ARRAYS.items():
            assert found[name].shape == array.shape
            np.testing.assert_array_equal(found[name].read(), array)


def test_numbers_of_a_tensor_that_are_not_raw(tmp_path):
    numbers = np.float32([1.5, -2])
    tensor = field(1, varint(2)) + field(2, 1) + field(4, numbers.tobytes()) + field(8, "w")
    (tmp_path / "x.onnx").write_bytes(onnx_bytes({}, tensors=[tensor]))
    with open_arrays(tmp_path / "x.onnx") as found:
        np.testing.assert_array_equal(found["w"].read(), numbers)


def test_constants_of_a_graph(tmp_path):
    arrays = {"a": np.float32(0.25), "b": np.arange(6, dtype=np.uint8).reshape(2, 3)}
    (tmp_path / "x.pb").write_bytes(graphdef_bytes(arrays))
    with open_arrays(tmp_path / "x.pb") as found:
        numbers = {name: entry.read().tolist() for name, entry in found.items()}
    assert numbers == {"a": 0.25, "b": [[0, 1, 2], [3, 4, 5]]}


def test_whole_numbers_are_signed():
    assert wholes(list(fields(memoryview(field(1, -3) + field(1, 2**40))))) == [-3, 2**40]


W = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    "data, words",
    [
        (b"\x08\x09", "it has no graph"),
        (WHOLE["onnx"][:-1], "cut short"),
        (b"\x08" + b"\xff" * 11, "more than 64 bits"),
        (b"\x08\x09\x3b", "has the wire type 3"),
        (b"\x08\x09\x38\x05", "where bytes are expected"),
        (onnx_bytes({}, tensors=[onnx_tensor("w", W, field(13, field(1, "location")))]), "in another file"),
        (onnx_bytes({}, tensors=[onnx_tensor("w", W, field(14, 1))]), "in another file"),
        (onnx_bytes({}, tensors=[onnx_tensor("w", W) + field(1, 9)]), "has not the size that its shape asks for"),
        (onnx_bytes({}, tensors=[onnx_tensor("w", W) + field(1, -1)]), "its shape is none"),
        (onnx_bytes({}, tensors=[field(2, 8) + field(8, "w")]), "of a type that is not read"),
        (onnx_bytes({}, [onnx_node("Conv", domain="com.evil")]), "uses operators of 'com.evil'"),
        (onnx_bytes(ARRAYS, [*pytorch_nodes(BLOCKS), onnx_node("Gemm")]), "its graph uses Gemm"),
        (onnx_bytes(ARRAYS, pytorch_nodes(BLOCKS)[2:]), "has its layers in another order"),
        (onnx_bytes(ARRAYS, pytorch_nodes(BLOCKS)[::-1]), "has its layers in another order"),
    ],
)
def test_onnx_files_that_are_refused(tmp_path, data, words):
    assert words in refusal(tmp_path, data)


def test_weights_in_another_order(tmp_path):
    nodes = [node.replace(b"res1.conv1", b"res1.conv9") for node in pytorch_nodes(BLOCKS)]
    assert "uses its weights in another order" in refusal(tmp_path, onnx_bytes(ARRAYS, nodes))


def test_a_file_over_2_gb(tmp_path):
    with (tmp_path / "x.onnx").open("wb") as file:
        file.write(b"\x08\x09")
        file.truncate(2**31 + 1)
    with pytest.raises(ValueError, match=r"it has 2\.1 GB; a file of this format has at most 2 GB"):
        foreign_model(tmp_path / "x.onnx")


def test_other_files_are_refused_by_their_names(tmp_path):
    for data, name, words in (
        (b"\x1c\0\0\0TFL3" + bytes(20), "x.tflite", "it is cut short, or damaged"),
        (b"\x04\0\0\0\x01\0\0\0", "x.t7", "it is a file of Lua's Torch, which is not read"),
        (b"\0\0\0", "x.ckpt", "it is a checkpoint of TensorFlow, which is not read"),
    ):
        assert words in refusal(tmp_path, data, name)


def ends_of_fields(data):
    """Where the outer fields end: bytes up to there are a file too, only a shorter one."""
    ends, at = {0}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if not data[at - 1] & 128:
                return value

    while at < len(data):
        kind = number() & 7
        length = number()
        at += length if kind == 2 else 0
        ends.add(at)
    return ends


@pytest.mark.parametrize("suffix", WHOLE)
@on_files
@given(data=st.data())
def test_cut_anywhere(tmp_path, suffix, data):
    whole = WHOLE[suffix]
    length = data.draw(st.integers(0, len(whole) - 1))
    if length not in ends_of_fields(whole):
        assert "it is cut short" in refusal(tmp_path, whole[:length], f"x.{suffix}")


@pytest.mark.parametrize("suffix", WHOLE)
def test_cut_between_two_fields(tmp_path, suffix):
    """What is left is no network, or lacks what is not needed, or is refused in one line."""
    whole = WHOLE[suffix]
    ends = ends_of_fields(whole)
    assert len(whole) in ends and len(ends) > 3
    for length in ends - {len(whole)}:
        (tmp_path / "x").write_bytes(whole[:length])
        try:
            found = foreign_model(tmp_path / "x")
        except (ValueError, OSError) as error:
            assert "\n" not in str(error) and len(str(error)) < 1000
        else:
            assert found is None or length > 0.99 * len(whole)


@pytest.mark.parametrize("suffix", WHOLE)
@on_files
@given(data=st.data())
def test_bytes_changed_anywhere(tmp_path, suffix, data):
    """Another byte of a name, a length or a number gives one line, another network, or none."""
    changed = bytearray(WHOLE[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "x").write_bytes(changed)
    try:
        foreign_model(tmp_path / "x")
    except (ValueError, OSError) as error:
        assert "\n" not in str(error) and len(str(error)) < 1000


def test_a_signaling_nan_gives_no_warning(tmp_path):
    arrays = {name: array.copy() for name, array in ARRAYS.items()}
    for array in arrays.values():
        array.view(np.uint32).flat[0] = 0x7F800001
    (tmp_path / "x.onnx").write_bytes(onnx_bytes(arrays, pytorch_nodes(BLOCKS)))
    network = foreign_model(tmp_path / "x.onnx")
    assert network is not None


def test_the_limit_is_that_of_the_format(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    with (tmp_path / "x").open("rb") as file:
        assert bytes(contents(file, 3)) == b"abc"
