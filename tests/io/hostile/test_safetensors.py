"""Attacks on the reader of .safetensors: each is refused in one line, and nothing larger than the file is read."""

import json
import struct

import numpy as np
import pytest

from nanostyle.io.foreign.arrays import open_arrays


def file(header, data=b"", *, length=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def array(dtype="F32", shape=(2,), place=(0, 8)):
    return {"dtype": dtype, "shape": shape, "data_offsets": place}


ATTACKS = {
    "header longer than the file": (file({}, length=2**63), "its header claims 9223372036854775808 bytes"),
    "numbers cut short": (file({"a": array()}, bytes(7)), "it is cut short"),
    "place smaller than the shape": (file({"a": array(place=(0, 4))}, bytes(8)), "does not fit its shape"),
    "place backwards": (file({"a": array(place=(8, 0))}, bytes(8)), "does not fit its shape"),
    "place before the file": (file({"a": array(place=(-8, 0))}, bytes(8)), "not in whole numbers"),
    "shape of 10^20 numbers": (file({"a": array(shape=(10**10, 10**10))}, bytes(8)), "does not fit its shape"),
    "shape of 100,000 sides": (file({"a": array(shape=[10**18] * 100_000)}, bytes(8)), "not in whole numbers"),
    "type of another format": (file({"a": array("F8_E4M3")}, bytes(8)), "is of type 'F8_E4M3', which is not read"),
    "type that is a list": (file({"a": array(["F32"])}, bytes(8)), "it is damaged (TypeError"),
    "no shape": (file({"a": array(shape=None)}, bytes(8)), "it is damaged (TypeError"),
    "nested beyond the stack": (file(b'{"a":' + b"[" * 100_000), "recursion"),
    "entry that is a number": (file({"a": 3}), "it is damaged (TypeError"),
    "entry without fields": (file({"a": {}}), "it is damaged (KeyError: 'shape')"),
    "header that is no text": (file(b"{\xff}"), "can't decode byte"),
    "one name twice": (
        file(b'{"a": %b, "a": %b}' % ((json.dumps(array()).encode(),) * 2), bytes(8)),
        "its header has a name twice",
    ),
    "two arrays in one place": (file({"a": array(), "b": array()}, bytes(8)), "'b' overlap those of another array"),
    "arrays that overlap in part": (
        file({"a": array(), "b": array(place=(4, 12))}, bytes(12)),
        "'b' overlap those of another array",
    ),
    "bytes between arrays": (
        file({"a": array(), "b": array(place=(12, 20))}, bytes(20)),
        "4 bytes before the numbers of 'b' belong to no array",
    ),
    "bytes before the first array": (file({"a": array(place=(8, 16))}, bytes(16)), "8 bytes before the numbers of 'a'"),
    "bytes after the last array": (file({"a": array()}, bytes(9)), "1 bytes at the end belong to no array"),
    "no array, but bytes": (file({}, b"#!/bin/sh"), "9 bytes at the end belong to no array"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_is_refused(tmp_path, attack):
    content, message = ATTACKS[attack]
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read .*hostile\.safetensors: ") as caught, open_arrays(path):
        pass
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_empty_arrays_share_no_byte(tmp_path):
    path = tmp_path / "empty.safetensors"
    arrays = {"a": array(shape=(0,), place=(0, 0)), "b": array(), "c": array(shape=(3, 0), place=(8, 8))}
    path.write_bytes(file(arrays, bytes(8)))
    with open_arrays(path) as entries:
        assert {name: entry.read().shape for name, entry in entries.items()} == {"a": (0,), "b": (2,), "c": (3, 0)}


def test_bfloat16_is_read_as_float32(tmp_path):
    """A bfloat16 is the upper half of a float32."""
    values = np.array([1, -2.5, 0, 3.140625, 2.0**-126, -np.inf], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    path = tmp_path / "brain.safetensors"
    path.write_bytes(file({"a": array("BF16", (2, 3), (0, 12))}, halves.tobytes()))
    with open_arrays(path) as entries:
        assert entries["a"].dtype == np.float32
        np.testing.assert_array_equal(entries["a"].read(), values.reshape(2, 3))
