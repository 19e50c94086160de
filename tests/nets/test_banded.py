"""A picture in bands is the picture in one piece, to rounding, whatever the network, the size and the memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanostyle.backend.rows import ArrayRows, Computed, Kept
from nanostyle.nets import banded
from nanostyle.nets.banded import BandedTransformer
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nn.module import parameters, state

NETS = {
    "instance": ("johnson", {"norm": "instance", "upsample": "fractional"}),
    "batch": ("johnson", {"norm": "batch", "upsample": "nearest"}),
    "many": ("dumoulin", {"styles": 3}),
    "predicted": ("ghiasi", {}),
}


@pytest.fixture(autouse=True)
def narrow_bands(monkeypatch):
    monkeypatch.setattr(banded, "_LEAST_ROWS", 16)


def network(kind):
    """Norms that are not at their start; kernels of a trained network's size, or rounding would be enlarged."""
    arch, options = NETS[kind]
    net = TransformerNet(transformer_config(arch, width=0.1, **options), np.random.default_rng(0))
    rng = np.random.default_rng(5)
    for name, p in parameters(net).items():
        if name.endswith("/weight"):
            K, _, C, _ = p.shape
            p.data = p.data * np.float32(100 / (K * C**0.5))
        else:
            p.data = p.data + 0.3 * rng.standard_normal(p.shape).astype(np.float32)
    for name, value in state(net).items():
        if "running" in name:
            value += rng.random(value.shape).astype(np.float32)
    return net


def style_of(net):
    rng = np.random.default_rng(7)
    return {
        name: tuple((start + 0.3 * rng.standard_normal((1, C))).astype(np.float32) for start in (1, 0))
        for name, C in net.styled_layers
    }


@pytest.mark.parametrize("kind", NETS)
@settings(max_examples=8, deadline=None)
@given(st.integers(5, 140), st.integers(5, 60), st.sampled_from([1, 1 << 21, 1 << 30]), st.integers(0, 1000))
def test_in_bands_as_in_one_piece(kind, height, width, memory, seed):
    net = network(kind)
    style = style_of(net)
    photo = np.random.default_rng(seed).random((height, width, 3), np.float32)
    whole = net(photo[None], style or None).data[0]
    rows = BandedTransformer(net, memory)(ArrayRows(photo), style)
    assert rows.shape == photo.shape
    np.testing.assert_allclose(rows.read(0, height), whole, atol=2e-5)
    start, stop = sorted((seed % height, seed * 7 % height))
    np.testing.assert_allclose(rows.read(start, stop + 1), whole[start : stop + 1], atol=2e-5)


def test_the_photo_may_be_bytes():
    net = network("instance")
    photo = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    rows = BandedTransformer(net, 1)(ArrayRows(photo), {})
    np.testing.assert_allclose(rows.read(0, 40), net(photo[None] / np.float32(255)).data[0], atol=2e-5)


def test_what_is_read_of_the_photo_and_held_at_once_stays_small():
    """The photo is asked for in bands, never whole, and nothing is read that lies outside it."""
    net, most, H = network("many"), 0, 400
    photo = np.random.default_rng(0).random((H, 24, 3), np.float32)

    def read(start, stop):
        nonlocal most
        assert 0 <= start < stop <= H
        most = max(most, stop - start)
        return photo[start:stop]

    rows = BandedTransformer(net, 1)(Computed(photo.shape, read), style_of(net))
    for start in range(0, H, 16):
        rows.read(start, min(start + 16, H))
    assert most <= 80  # bands of 16 rows at the widest, and the halos of three layers


def test_several_styles_at_once_are_each_style_alone():
    net, rng = network("predicted"), np.random.default_rng(3)
    photo, one = rng.random((60, 40, 3), np.float32), style_of(net)
    other = {name: (gamma + 1, beta) for name, (gamma, beta) in one.items()}
    both = BandedTransformer(net, 1).several(ArrayRows(photo), [one, other])
    for rows, style in zip(both, (one, other), strict=True):
        np.testing.assert_allclose(rows.read(0, 60), net(photo[None], style).data[0], atol=2e-5)


def test_a_full_disk_is_told(monkeypatch):
    def full(self, start, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Kept, "write", full)
    with pytest.raises(OSError, match="No space left"):
        BandedTransformer(network("instance"), 1)(ArrayRows(np.zeros((40, 40, 3), np.float32)), {})
