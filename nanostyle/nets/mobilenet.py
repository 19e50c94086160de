"""MobileNet-v2 (Sandler 2018) before its classifier, as Magenta's network for any painting looks at paintings.

    layer              kernel  size           channels
    first              3x3     1/2            32
    blocks             expand 1x1, depthwise 3x3, project 1x1; 17 of them: `BLOCKS`
    last               1x1     1/32           1280

A ReLU6 follows every convolution but those that project; a block adds its input where size and channels are the same.
The statistic is the mean of each channel. Batch norms are in the weights and biases.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nanostyle.autograd import ops
from nanostyle.autograd.tensor import Tensor

# Of each row: by how much the channels are expanded, channels, blocks, stride of the first (Sandler 2018, table 2).
TABLE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
FIRST, LAST = 32, 1280


def relu6(x: Any) -> Tensor:
    """`x` between 0 and 6."""
    y: Tensor = ops.relu(x) - ops.relu(x - 6)
    return y


def padded(x: Any, K: int, stride: int) -> Any:
    """`x` with the zeros around it that TensorFlow's `SAME` adds, for a kernel of K x K; for any size."""
    pad = []
    for n in x.shape[1:3]:
        total = max(0, (-(-n // stride) - 1) * stride + K - n)
        pad += [total // 2, total - total // 2]
    return ops.pad(x, pad=tuple(pad)) if any(pad) else x


class _Convolution:
    """A convolution with bias; `depthwise`: each channel by itself, with a kernel `(K, K, C)`."""

    def __init__(self, rng: np.random.Generator, K: int, C: int, M: int, *, stride: int = 1, depthwise: bool = False):
        shape = (K, K, C) if depthwise else (K, K, C, M)
        deviation = (2 / (K * K * (1 if depthwise else C))) ** 0.5
        self.weight = Tensor((deviation * rng.standard_normal(shape)).astype(np.float32), requires_grad=True)
        self.bias = Tensor(np.zeros(M, np.float32), requires_grad=True)
        self._stride, self._depthwise = stride, depthwise

    @property
    def stride(self) -> int:
        """What it divides the size by."""
        return self._stride

    @property
    def depthwise(self) -> bool:
        """Whether each channel has a kernel of its own."""
        return self._depthwise

    def __call__(self, x: Any) -> Tensor:
        x = padded(x, self.weight.shape[0], self._stride)
        convolve = ops.depthwise_conv2d if self._depthwise else ops.conv2d
        y: Tensor = convolve(x, self.weight, self.bias, stride=self._stride)
        return y


class Block:
    """An inverted residual: expand (left out where it would not), depthwise, project."""

    def __init__(self, rng: np.random.Generator, C: int, M: int, expansion: int, stride: int) -> None:
        inside = C * expansion
        if expansion > 1:
            self.expand = _Convolution(rng, 1, C, inside)
        self.depthwise = _Convolution(rng, 3, inside, inside, stride=stride, depthwise=True)
        self.project = _Convolution(rng, 1, inside, M)
        self._adds = stride == 1 and C == M

    @property
    def adds(self) -> bool:
        """Whether the input is added to the result."""
        return self._adds

    @property
    def layers(self) -> list[tuple[str, _Convolution]]:
        """Name and convolution of each layer, in order; a ReLU6 follows all but the last."""
        names = ("expand", "depthwise", "project")
        return [(name, getattr(self, name)) for name in names if hasattr(self, name)]

    def __call__(self, x: Any) -> Tensor:
        """The block's result `(N, H', W', M)` for `x (N, H, W, C)`."""
        y = x
        for name, layer in self.layers:
            y = layer(y) if name == "project" else relu6(layer(y))
        result: Tensor = y + x if self._adds else y
        return result


class MobileNetBackbone:
    """The network as a backbone of style prediction: from pictures to the mean of each of its 1280 channels.

    Its statistics go into the bottleneck as they are.

    >>> backbone = MobileNetBackbone(np.random.default_rng(0))
    >>> backbone(np.zeros((1, 32, 40, 3), np.float32)).shape, len(backbone.block)
    ((1, 1280), 17)
    """

    config: Mapping[str, Any] = {"kind": "mobilenet"}
    width = LAST
    takes_roots = False

    def __init__(self, rng: np.random.Generator) -> None:
        self.first = _Convolution(rng, 3, 3, FIRST, stride=2)
        self.block: list[Block] = []
        C = FIRST
        for expansion, M, count, stride in TABLE:
            for i in range(count):
                self.block.append(Block(rng, C, M, expansion, 1 if i else stride))
                C = M
        self.last = _Convolution(rng, 1, C, LAST)

    def __call__(self, x: Any, *, training: bool = False) -> Tensor:
        """The statistics `(N, 1280)` of pictures `x (N, H, W, 3)`, RGB in 0..1; `training` makes no difference."""
        x = relu6(self.first(x))
        for block in self.block:
            x = block(x)
        mean: Tensor = ops.mean(relu6(self.last(x)), axis=(1, 2))
        return mean
