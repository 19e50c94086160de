"""The loss network: a VGG of any kind, described by its weights file.

VGG-16 and VGG-19 (Simonyan 2015), the VGG-19 with normalized weights (Gatys 2016, section 2) and nanostyle's own
compact network differ in their list of layers, their weights and their preprocessing, so one class serves all.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nanostyle.autograd.ops import avg_pool, cast, conv2d, gram, matmul, max_pool, relu, sub
from nanostyle.autograd.tensor import Tensor
from nanostyle.backend.device import CPU, Device, storage, to_device
from nanostyle.backend.types import Array
from nanostyle.errors import with_hint

# In the order of the field's habit: the first ones that a network has are its defaults.
STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT_LAYERS = ("relu4_2", "relu4_1", "relu3_3", "relu3_1")


class VggLayer(NamedTuple):
    """A layer of a loss network, as those read it who walk the network without running it.

    Attributes
    ----------
    name, kind : str
        `conv1_1` and `conv`; the other kinds are `relu` and `pool`.
    channels : int
        Those of its result.
    scale : int
        The picture's side over that of its result, which is rounded down.
    """

    name: str
    kind: str
    channels: int
    scale: int


class LossNetwork:
    """A frozen stack of convolutions, ReLUs and pools whose layers are asked for by name (`relu3_1`).

    Parameters
    ----------
    config : mapping
        `layers`: their names in order (the name's stem is the kind: conv, relu, pool); `padding`: zero or reflect;
        `pooling`: max or avg; `preprocess`: `order` (RGB or BGR), `scale`, `mean`, `std`: the network was trained on
        `(picture[order]·scale - mean) / std`, with pictures in 0..1.
    parameters : mapping
        `conv1_1/weight` `(K, K, C, M)`, `conv1_1/bias` `(M,)`, and so on. A layer may have a `relu1_1/map` `(C, M)`:
        a loss compares its features times the map, while the next layer goes on from the features.
    padding, pooling : str, optional
        In place of those of the config.
    dtype
        float32 for use; float64 for proofs.
    device
        Where the weights are to be.

    Examples
    --------
    >>> from nanostyle.nets.vgg_config import PREPROCESS
    >>> config = {"layers": ["conv1_1", "relu1_1", "pool1"], "padding": "zero", "pooling": "max"}
    >>> parameters = {"conv1_1/weight": np.ones((3, 3, 3, 8)), "conv1_1/bias": np.ones(8)}
    >>> network = LossNetwork({**config, "preprocess": PREPROCESS["torch"]}, parameters)
    >>> features = network.features(Tensor(np.ones((1, 16, 20, 3), np.float32)), ["relu1_1", "pool1"])
    >>> {name: f.shape for name, f in features.items()}
    {'relu1_1': (1, 16, 20, 8), 'pool1': (1, 8, 10, 8)}
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        parameters: Mapping[str, npt.NDArray[Any]],
        *,
        padding: str | None = None,
        pooling: str | None = None,
        dtype: npt.DTypeLike = np.float32,
        device: Device = CPU,
    ) -> None:
        self.layers: list[str] = list(config["layers"])
        self.padding = padding or config["padding"]
        self.pooling = pooling or config["pooling"]

        pre = config["preprocess"]
        mean, std = (np.asarray(pre[k], np.float64) for k in ("mean", "std"))
        # Order and scale go into the first convolution, the mean does not: zero padding means "the mean color".
        order = [pre["order"].index(c) for c in "RGB"]
        first = next(name for name in self.layers if name.startswith("conv"))
        self.mean = to_device((mean / pre["scale"])[order].astype(dtype), device)
        factor = (pre["scale"] / std)[order][:, None]

        # Frozen arrays. Who wants to train them puts tensors in their place.
        self.weights: dict[str, tuple[Any, Any]] = {}
        for name in self.layers:
            if name.startswith("conv"):
                w, b = parameters[f"{name}/weight"], parameters[f"{name}/bias"]
                if name == first:
                    w = w.astype(np.float64)[:, :, order] * factor
                self.weights[name] = self._frozen(w, dtype, device), self._frozen(b, dtype, device)
        self.maps = {
            name: self._frozen(parameters[f"{name}/map"][None, None], dtype, device)
            for name in self.layers
            if f"{name}/map" in parameters
        }

    @property
    def table(self) -> list[VggLayer]:
        """The layers in order, with channels and scale."""
        rows = []
        channels, scale = 3, 1
        for name in self.layers:
            kind = name.rstrip("0123456789_")
            if kind == "conv":
                channels = self.weights[name][0].shape[3]
            elif kind == "pool":
                scale *= 2
            rows.append(VggLayer(name, kind, channels, scale))
        return rows

    def size(self, layer: str, H: int, W: int) -> tuple[int, int]:
        """Height and width of the features of `layer` for pictures of `H` x `W` pixels."""
        scale = next(row.scale for row in self.table if row.name == layer)
        return H // scale, W // scale

    @staticmethod
    def _frozen(x: npt.NDArray[Any], dtype: npt.DTypeLike, device: Device) -> Array:
        """A read-only copy: what is derived from it (Winograd form) may be kept."""
        x = np.array(x, dtype, order="C")
        x.flags.writeable = False
        return to_device(x, device)

    @property
    def style_layers(self) -> list[str]:
        """relu1_1 to relu5_1, as far as the network has them (Gatys 2016, section 3)."""
        return [name for name in STYLE_LAYERS if name in self.layers]

    @property
    def content_layers(self) -> list[str]:
        """relu4_2 (Gatys 2016, section 3), or the nearest to it that the network has."""
        return [name for name in CONTENT_LAYERS if name in self.layers][:1]

    def minimum_side(self, layers: Iterable[str]) -> int:
        """The smallest height and width of a picture for which all of `layers` exist: 2 for each pool up to them."""
        wanted = set(layers)
        return max(row.scale for row in self.table if row.name in wanted)

    def check_layers(self, layers: Iterable[str]) -> None:
        """Raise ValueError, with the names there are, if the network lacks one of `layers`."""
        if missing := [name for name in layers if name not in self.layers]:
            raise ValueError(f"layers: the loss network has no {', '.join(missing)}; it has {', '.join(self.layers)}")

    def features(self, x: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """The outputs of `layers` for pictures `x (N, H, W, 3)`, RGB in 0..1: name to `(N, H', W', C)`.

        Nothing beyond the deepest of the layers is computed. Maps are left to `mapped` and `gram`.

        Raises
        ------
        ValueError
            The network lacks a layer, or the pictures are too small for the deepest one.
        """
        wanted = set(layers)
        self.check_layers(wanted)
        if min(x.shape[1:3]) < (least := self.minimum_side(wanted)):
            deepest = max(wanted, key=self.layers.index)
            text = f"{x.shape[2]}x{x.shape[1]} pixels are too few for {deepest}, which needs at least {least}x{least}"
            raise with_hint(ValueError(f"picture: {text}"), "use a larger picture, a larger {size} or shallower layers")
        out: dict[str, Tensor] = {}
        x = sub(x, self.mean)
        x = cast(x, dtype=storage(x.data))
        names = iter(self.layers)
        following = dict(zip(self.layers, self.layers[1:], strict=False))
        for name in names:
            if name.startswith("conv"):
                w, b = self.weights[name]
                # conv and ReLU are one op, unless somebody asks for what is between them.
                fused = following.get(name, "").startswith("relu") and name not in wanted
                x = conv2d(x, w, b, pad=w.shape[0] // 2, mode=self.padding, relu=fused)
                if fused:
                    name = next(names)
            elif name.startswith("relu"):
                x = relu(x)
            else:
                x = max_pool(x) if self.pooling == "max" else avg_pool(x)
            if name in wanted:
                out[name] = x
                if len(out) == len(wanted):
                    break
        return out

    def mapped(self, layer: str, features: Tensor) -> Tensor:
        """The features `(N, H, W, C)` of a layer, times its map where it has one: what content losses compare."""
        if layer in self.maps:
            features = conv2d(features, self.maps[layer])
        return features

    def gram(self, layer: str, features: Tensor) -> Tensor:
        """The Gram matrix `(N, M, M)` of `mapped(layer, features)`, without the work of a map for every pixel.

        With the map A, the Gram matrix of F A is Aᵀ (Fᵀ F) A.
        """
        G: Tensor = gram(features)
        if layer in self.maps:
            matrix = self.maps[layer][0, 0]
            G = matmul(matmul(matrix.swapaxes(0, 1), G), matrix)
        return G
