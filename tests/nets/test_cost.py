"""What the networks cost, counted by hand; and that one number says everywhere how many residual blocks there are."""

import numpy as np
import pytest

from nanostyle.autograd.tensor import no_grad
from nanostyle.backend.device import Device
from nanostyle.diagnostics.speed import transformer, vgg19
from nanostyle.nets.cost import loss_gradient, training_step, transformer_flops, transformer_pass, vgg_flops
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config
from nanostyle.nn.module import parameters
from tests.support.networks import tiny_vgg


def flops_by_hand(blocks, *, fractional=False):
    """For 8x8 pixels: each value of a result takes 2 * K * K * C; transposed, each of the input does."""
    pixels, half, quarter = 64, 16, 4
    down = pixels * 32 * 81 * 3 + half * 64 * 9 * 32 + quarter * 128 * 9 * 64
    residual = 2 * blocks * quarter * 128 * 9 * 128
    up = half * 64 * 9 * 128 + pixels * 32 * 9 * 64
    output = pixels * 3 * 81 * 32
    return 2 * (down + residual + (up / 4 if fractional else up) + output)


@pytest.mark.parametrize("upsample", ["nearest", "fractional"])
def test_flops_of_the_transformer(upsample):
    assert transformer_flops(transformer(upsample), 8, 8) == flops_by_hand(5, fractional=upsample == "fractional")


def test_flops_of_vgg():
    first = 2 * 9 * 64 * (3 * 64 + 64 * 64)
    second = 2 * 9 * 16 * (64 * 128 + 128 * 128)
    third = 2 * 9 * 4 * (128 * 256 + 3 * 256 * 256)
    fourth = 2 * 9 * 1 * 256 * 512
    assert vgg_flops(vgg19(), 8, 8) == first + second + third + fourth


@pytest.mark.parametrize("arch", ["johnson", "dumoulin", "ghiasi"])
@pytest.mark.parametrize(("width", "numbers"), [(1.0, 2 * 32 + 64 / 4), (0.25, 8 + 32)])
def test_bytes_of_a_pass(arch, width, numbers):
    """The widest place: up2 with its input, its convolution and its norm; in a narrow network, the output's taps."""
    net = TransformerNet(transformer_config(arch, width=width), np.random.default_rng(0))
    assert transformer_pass(net) == 40 + 4 * numbers
    try:
        Device("cuda", "fp16").use()
        assert transformer_pass(net) == 40 + 2 * numbers
    finally:
        Device().use()


def test_bytes_of_the_loss():
    """Two convolutions a block, pools between the blocks; 4, 6 and 8 channels."""
    kept = 2 * 4 + 4 / 4 + 2 * 6 / 4
    assert loss_gradient(tiny_vgg(), ["relu2_2", "relu1_1"]) == 40 + 4 * (kept + 4 + 32)


def test_a_sixth_residual_block_is_right_everywhere():
    rng = np.random.default_rng(0)
    net = TransformerNet(transformer_config("dumoulin", styles=2, blocks=6), rng)

    names = list(parameters(net))
    assert names.index("residual6/conv2/norm/beta") + 1 == names.index("up1/weight")
    assert sum(p.data.size for p in parameters(net).values()) == 1_674_432 + 2 * 9 * 128**2 + 2 * (3_206 + 4 * 128)

    styled = [name for name, _ in net.styled_layers]
    assert styled[-5:-3] == ["residual6/conv1", "residual6/conv2"] and len(styled) == 3 + 12 + 3
    assert 2 * sum(C for _, C in net.styled_layers) == 3_206 + 4 * 128

    assert transformer_flops(net, 8, 8) == flops_by_hand(6)
    network = tiny_vgg()
    kept = 2 * (2 * 32 + 2 * 64 / 4 + 13 * 128 / 16) + 3 * 32
    assert training_step(net, network, ["relu1_1"]) == loss_gradient(network, ["relu1_1"]) + 4 * kept
    assert transformer_pass(net) == 40 + 4 * (2 * 32 + 64 / 4)

    # A block whose second gamma and beta are 0 adds nothing: the network does what it does without its layers.
    x, style = rng.random((1, 16, 16, 3), np.float32), np.array([1])
    with no_grad():
        other = net(x, style).data
        for part in ("gamma", "beta"):
            parameters(net)[f"residual6/conv2/norm/{part}"].data[:] = 0
        six = net(x, style).data
        net.layers = [layer for layer in net.layers if not layer.name.startswith("residual6/")]
        np.testing.assert_array_equal(net(x, style).data, six)
    assert np.abs(other - six).max() > 1e-3
