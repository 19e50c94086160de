"""Hostile files of other programs are refused in one line, and never run."""

import io
import os
import pickle
import struct
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nanostyle.io.foreign.arrays import open_arrays
from nanostyle.models.importers.vgg import convert
from tests.support.foreign_files import (
    FORMATS,
    LEGACY_START,
    as_torchvision,
    npz,
    parameters,
    refusal,
    text,
    torch_pickle,
    torch_zip,
    whole,
)

on_files = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])

# --- hostile pickles --------------------------------------------------------------------------------------------


class Call:
    """Pickles to a call of a function."""

    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


def legacy_of(data):
    return LEGACY_START + data + pickle.dumps([], 2)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("wrap", [torch_zip, legacy_of, lambda data: data], ids=["zip", "legacy", "bare"])
def test_a_pickle_that_would_run_a_command(write, tmp_path, protocol, wrap):
    marker = tmp_path / "marker"
    data = pickle.dumps(Call(os.system, f"touch {marker}"), protocol)
    content = torch_zip(as_torchvision(parameters()), data) if wrap is torch_zip else wrap(data)
    message = refusal(write(content))
    assert f"it would import '{os.system.__module__}.system', which is no part of a tensor" in message
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_else_it_would_import(write, protocol):
    module = "builtins" if protocol > 2 else "__builtin__"  # as Python 2 called it
    for function, arguments in ((eval, ("1",)), (exec, ("1",)), (getattr, ("a", "upper")), (__import__, ("os",))):
        content = {"features.0.weight": [{"deep": (Call(function, *arguments),)}]}
        message = refusal(write(torch_zip({}, pickle.dumps(content, protocol))))
        assert f"it would import '{module}.{function.__name__}'" in message


def test_names_cannot_break_the_line_of_the_error(write):
    message = refusal(write(torch_zip({}, b"\x80\x04" + text("a\nb" * 500) + text("c") + b"\x93.")))
    assert r"it would import 'a\nba\nb" in message


P = b"\x80\x02"


@pytest.mark.parametrize(
    "data, message",
    [
        (P + b"N", "ends in the middle"),
        (P + b"R.", "takes more from the stack"),
        (P + b"t.", "a mark that is not there"),
        (P + b"NNR.", "calls something that makes no tensor"),
        (P + b"ctorch\nFloatStorage\n)R.", "calls something that makes no tensor"),
        (P + b"h\x05.", "recalls a value that it never stored"),
        (P + b"j\xff\xff\xff\xff.", "recalls a value that it never stored"),
        (P + b"Nr\xff\xff\xff\xff.", ""),
        (P + b"Ktorch", ""),
        (P + b"i__main__\nX\n.", "opcode b'i' has no place"),
        (P + b"c" + b"a" * 10_000, "a name in the pickle has no end"),
        (P + b"X\xff\xff\xff\xff", "ends in the middle"),
        (P + b"\x8d" + b"\xff" * 8, "ends in the middle"),
        (P + b"\x8b\xff\xff\xff\xff", "ends in the middle"),
        (P + b"\x95" + b"\xff" * 8 + b"N.", ""),
        (P + b"X\x02\0\0\0\xff\xff.", "utf-8"),
        (P + b"NNa.", "not of that kind"),
        (P + b"}NNs.", "keys that are neither text nor whole numbers"),
        (P + b"NQ.", "not in the form that torch writes"),
        (P + b"ctorch._utils\n_rebuild_tensor_v2\n)R.", "a tensor has no storage"),
        (P + b"ctorch._utils\n_rebuild_parameter\n)R.", "a parameter holds no tensor"),
        (P + b"ccollections\nOrderedDict\nN\x85R.", "not made from keys and values"),
        (P + b"(" * 900_000 + b"N.", ""),
        (P + b"N0" * 600_000 + b"N.", "more than 1000000 opcodes"),
        (P + b"]q\0h\0ah\0.", ""),
        (P + b")" + b"q\0h\0\x86" * 60 + b"q\1}h\1Ns.", "keys that are neither"),
        (P + b"\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b".", ""),
    ],
)
def test_pickles_that_make_no_sense(write, data, message):
    for content in (torch_zip({}, data), legacy_of(data)):
        assert message in refusal(write(content))


def tensor_of(count, offset, shape, strides):
    """A pickled tensor that claims whatever it is told to."""
    numbers = lambda values: b"(" + b"".join(b"\x8a\x09" + v.to_bytes(9, "little") for v in values) + b"t"  # noqa: E731
    reference = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + whole(count) + b"tQ"
    parts = reference + whole(offset) + numbers(shape) + numbers(strides)
    return b"\x80\x02}" + text("features.0.bias") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + parts + b"tRs."


@pytest.mark.parametrize(
    "count, offset, shape, strides, message",
    [
        (64, 0, (65,), (1,), "larger than its storage of 64 numbers"),
        (64, 0, (10**9, 10**9), (0, 0), "larger than its storage"),
        (64, 1, (64,), (1,), "reaches outside its storage"),
        (64, 0, (8, 8), (9, 1), "reaches outside its storage"),
        (64, 0, (2**63,), (1,), "not whole numbers"),
        (64, 0, (64,), (1, 1), "1 sides and 2 strides"),
        (64, 0, (1,) * 40, (1,) * 40, "40 sides"),
        (64, -1, (64,), (1,), "not whole numbers"),
        (65, 0, (64,), (1,), "the data '0' are missing or not 65 float32"),
        (-1, 0, (64,), (1,), "not in the form that torch writes"),
    ],
)
def test_tensors_that_reach_outside_their_data(write, count, offset, shape, strides, message):
    arrays = {"features.0.weight": np.ones(64, np.float32)}
    data = tensor_of(count, offset, shape, strides)
    if message.startswith("the data"):  # it is only met when the tensor is read
        with open_arrays(write(torch_zip(arrays, data))) as entries, pytest.raises(ValueError, match=message):
            entries["features.0.bias"].read()
    else:
        assert message in refusal(write(torch_zip(arrays, data)))


# --- hostile archives -------------------------------------------------------------------------------------------


def test_a_torch_zip_that_is_compressed_is_a_bomb(write):
    arrays = as_torchvision({name: np.zeros_like(array) for name, array in parameters().items()})
    assert "refused as a zip bomb" in refusal(write(torch_zip(arrays, compression=zipfile.ZIP_DEFLATED)))


def test_a_torch_zip_whose_members_overlap_is_a_bomb(write):
    content = torch_zip(as_torchvision(parameters()))
    end = content.rindex(b"PK\x05\x06")
    count, size, start = struct.unpack("<HII", content[end + 10 : end + 20])
    directory = content[start : start + size]
    directory = b"".join([directory, *(directory.replace(b"vgg/data/", b"vgg/%04d/" % i) for i in range(19))])
    tail = struct.pack("<HHII", 20 * count, 20 * count, len(directory), start)
    bomb = content[:start] + directory + content[end : end + 8] + tail + content[end + 20 :]
    with zipfile.ZipFile(io.BytesIO(bomb)) as archive:
        assert len(archive.infolist()) == 20 * count
    assert "refused as a zip bomb" in refusal(write(bomb))


def test_a_torch_zip_without_its_data(write):
    arrays = as_torchvision(parameters())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("vgg/data.pkl", torch_pickle(arrays))
    assert "are missing or not" in refusal(write(out.getvalue()))


def test_a_big_endian_torch_zip(write):
    content = torch_zip(as_torchvision(parameters())).replace(b"little", b"bigbig")
    refusal(write(content))  # the checksum of the member no longer fits
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("vgg/data.pkl", torch_pickle({}))
        archive.writestr("vgg/byteorder", "big")
    assert "big-endian" in refusal(write(out.getvalue()))


def test_an_npz_of_objects(write, tmp_path):
    marker = tmp_path / "marker"
    content = npz({"features.0.weight": np.array([Call(os.system, f"touch {marker}")], dtype=object)})
    assert "is not an array of numbers" in refusal(write(content, "x.npz"))
    assert not marker.exists()


def npy_zip(header, data=b"", length=None):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        raw = header.encode()
        size = len(raw) if length is None else length
        archive.writestr("conv1_1/weight.npy", b"\x93NUMPY\x02\0" + struct.pack("<I", size) + raw + data)
    return out.getvalue()


@pytest.mark.parametrize(
    "content, message",
    [
        (npy_zip("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000)}"), "not the size"),
        (npy_zip("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2)}", bytes(16)), ""),
        (npy_zip("{'descr': '<f4', 'fortran_order': False, 'shape': " + "(1," * 3000), ""),
        (npy_zip("(" * 9000), ""),
        (npy_zip("", bytes(1 << 20), length=2**32 - 1), ""),
        (npy_zip("__import__('os').system('false')"), ""),
        (npy_zip("", b""), ""),
    ],
)
def test_npz_headers_that_make_no_sense(write, content, message):
    assert message in refusal(write(content, "x.npz"), preprocess="caffe")


def test_an_hdf5_file_that_unpacks_to_more_than_it_is(write, tmp_path):
    with h5py.File(tmp_path / "k.h5", "w") as file:
        file.create_dataset("block1_conv1/kernel:0", (1 << 20, 1 << 20), np.float32, chunks=(1, 1 << 10), compression=9)
        file["block1_conv1/bias:0"] = h5py.ExternalLink("/etc/passwd", "/")
    assert "is a link; links are not followed" in refusal(tmp_path / "k.h5")
    with h5py.File(tmp_path / "k.h5", "r+") as file:
        del file["block1_conv1/bias:0"]
    assert "'block1_conv1/kernel:0' is (1048576, 1048576)" in refusal(tmp_path / "k.h5")


# --- cut and shaken ---------------------------------------------------------------------------------------------

SMALL = as_torchvision(parameters(convolutions=1))
WHOLE = {suffix: make(SMALL) for suffix, make in FORMATS.items()}


@pytest.mark.parametrize("suffix", FORMATS)
@on_files
@given(data=st.data())
def test_cut_anywhere(write, suffix, data):
    whole_file = WHOLE[suffix]
    refusal(write(whole_file[: data.draw(st.integers(0, len(whole_file) - 1))], f"cut.{suffix}"))


@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if suffix != "h5"])
@on_files
@given(data=st.data())
def test_bytes_changed_anywhere(write, suffix, data):
    """Either the change is refused in one line, or it was in numbers, names or gaps that do not matter."""
    content = bytearray(WHOLE[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        # The structure is at the two ends, the numbers between them.
        place = data.draw(st.one_of(st.integers(0, 600), st.integers(-600, -1)))
        content[place] = data.draw(st.integers(0, 255))
    source = write(bytes(content), f"changed.{suffix}")
    try:
        convert(source, source.with_name("out.h5"))
    except (ValueError, OSError) as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("suffix", ["pth", "h5", "npz", "safetensors"])
@on_files
@given(
    start=st.sampled_from([b"", b"\x80\x02", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x08" + bytes(7) + b"{"]),
    rest=st.binary(),
)
@example(b"", b"c__builtin__\neval\n(V1\ntR.")
def test_random_bytes(write, suffix, start, rest):
    refusal(write(start + rest, f"random.{suffix}"))


@on_files
@given(
    codes=st.lists(
        st.sampled_from(
            [bytes([c]) for c in b"()}]NK\x01tRu.s0abq\x00h\x00\x85\x86\x87\x88Q"]
            + [
                b"ctorch._utils\n_rebuild_tensor_v2\n",
                b"ctorch\nFloatStorage\n",
                b"ccollections\nOrderedDict\n",
                text("storage"),
            ]
        ),
        max_size=60,
    )
)
def test_random_opcodes(write, codes):
    refusal(write(torch_zip({}, b"\x80\x02" + b"".join(codes))))
