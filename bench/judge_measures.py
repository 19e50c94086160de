"""Judges that no training saw, and numbers for colors and single faults: what `judge.py` measures with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch.nn import functional as F

from nanostyle.io.weights import load_weights

Pixels = np.ndarray
Features = Mapping[str, torch.Tensor]


# --- judges -----------------------------------------------------------------------------------------------


class Vgg:
    """The whole VGG-19, from a weights file of nanostyle."""

    content, style = ("relu4_2",), ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

    def __init__(self, path: Path) -> None:
        file = load_weights(path, "features")
        self._pre, self._zero = file.config["preprocess"], file.config["padding"] == "zero"
        self._layers = file.config["layers"]
        self._weights = {
            name: (torch.tensor(file.parameters[f"{name}/weight"].transpose(3, 2, 0, 1).copy()), torch.tensor(b))
            for name in self._layers
            if (b := file.parameters.get(f"{name}/bias")) is not None
        }

    def __call__(self, pixels: Pixels) -> dict[str, torch.Tensor]:
        """By the layer's name its features `(C, pixels)`."""
        order = ["RGB".index(c) for c in self._pre["order"]]
        x = (pixels[..., order] * self._pre["scale"] - self._pre["mean"]) / self._pre["std"]
        x = torch.tensor(x.astype(np.float32)).permute(2, 0, 1)[None]
        found: dict[str, torch.Tensor] = {}
        for name in self._layers:
            if name.startswith("conv"):
                x = F.conv2d(
                    x if self._zero else F.pad(x, (1,) * 4, "reflect"), *self._weights[name], padding=int(self._zero)
                )
            else:
                x = F.relu(x) if name.startswith("relu") else F.max_pool2d(x, 2)
            found[name] = x[0].flatten(1)
            if name == self.style[-1]:
                break
        return found


class SqueezeNet:
    """SqueezeNet 1.1, from Keras' file."""

    content, style = ("fire5",), ("conv1", "fire3", "fire5", "fire7", "fire9")

    def __init__(self, path: Path) -> None:
        self._weights: dict[str, list[torch.Tensor]] = {}
        with h5py.File(path) as file:
            file.visititems(self._take)

    def _take(self, name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and "kernel" in name:
            kernel = torch.tensor(np.asarray(node).transpose(3, 2, 0, 1).copy())
            bias = torch.tensor(np.asarray(node.parent["bias:0"]))
            self._weights["/".join(name.split("/")[:2])] = [kernel, bias]

    def _conv(self, x: torch.Tensor, name: str, **how: Any) -> torch.Tensor:
        return F.relu(F.conv2d(x, *self._weights[name], **how))

    def __call__(self, pixels: Pixels) -> dict[str, torch.Tensor]:
        """By the block's name its features `(C, pixels)`."""
        x = pixels[..., ::-1] * 255 - np.array([103.939, 116.779, 123.68])
        x = torch.tensor(x.astype(np.float32)).permute(2, 0, 1)[None]
        first = next(name for name in self._weights if name.startswith("conv1"))
        x = self._conv(x, first, stride=2)
        found = {"conv1": x[0].flatten(1)}
        for i in range(2, 10):
            if i in (2, 4, 6):
                x = F.max_pool2d(x, 3, 2)
            parts = {name.split("/")[1].split("_")[0]: name for name in self._weights if name.startswith(f"fire{i}/")}
            x = self._conv(x, parts["squeeze1x1"])
            x = torch.cat([self._conv(x, parts["expand1x1"]), self._conv(x, parts["expand3x3"], padding=1)], 1)
            found[f"fire{i}"] = x[0].flatten(1)
        return found


def gram(f: torch.Tensor) -> torch.Tensor:
    """The Gram matrix of features `(C, pixels)`: their mean over the pixels."""
    return f @ f.T / f.shape[1]


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """The squared distance of `a` from `b`, as a multiple of the square of `b`."""
    return float(((a - b) ** 2).sum() / (b**2).sum())


def style_distance(
    judge: "Vgg | SqueezeNet", a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]
) -> dict[str, float]:
    """By layer, how far the Gram matrices of `a` are from those of `b`, relative to the latter."""
    return {name: relative(gram(a[name]), gram(b[name])) for name in judge.style}


# --- numbers for colors and faults ------------------------------------------------------------------------


def lab(pixels: Pixels) -> Pixels:
    """CIE Lab under D65 of sRGB in 0..1."""
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((np.maximum(pixels, 0) + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    t = xyz / np.array([0.9505, 1.0, 1.089])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def chroma(pixels: Pixels) -> float:
    """The deviation of a and b in Lab, their mean."""
    return float(lab(pixels)[..., 1:].std(axis=(0, 1)).mean())


def palette_distance(a: Pixels, b: Pixels, *, directions: int = 64, quantiles: int = 256) -> float:
    """Sliced Wasserstein distance of the colors in Lab: the mean over directions of that along each."""
    d = np.random.default_rng(0).standard_normal((3, directions))
    d /= np.linalg.norm(d, axis=0)
    q = (np.arange(quantiles) + 0.5) / quantiles
    along = [np.quantile(lab(p).reshape(-1, 3) @ d, q, axis=0) for p in (a, b)]
    return float(np.abs(along[0] - along[1]).mean())


def lines(pixels: Pixels) -> float:
    """The strongest spectral line at periods of 2, 4 and 8 pixels along rows or columns, over its surroundings."""
    x = pixels.mean(axis=2)
    x = x[: x.shape[0] // 8 * 8, : x.shape[1] // 8 * 8]
    found = []
    for y in (x, x.T):
        power = (np.abs(np.fft.rfft(y - y.mean(axis=1, keepdims=True), axis=1)) ** 2).mean(axis=0)
        for period in (2, 4, 8):
            at = y.shape[1] // period
            around = [power[i] for i in range(at - 6, at + 7) if abs(i - at) > 1 and i < len(power)]
            found.append(power[at] / np.mean(around))
    return float(max(found))


def pan(render: Callable[[Pixels, Pixels], Pixels], photo: Pixels, art: Pixels) -> float:
    """How far the result of a photo that moved by a pixel is from the result, moved: root mean square, of 255."""
    a, b = render(photo[:-1, :-1], art), render(photo[1:, 1:], art)
    inner = slice(16, -16)
    return float(255 * np.sqrt(np.mean((a[1:, 1:][inner, inner] - b[:-1, :-1][inner, inner]) ** 2)))


def stripes(pixels: Pixels) -> float:
    """The share of the fine detail that runs along whole rows."""
    kernel = np.ones(13) / 13
    low = np.apply_along_axis(lambda c: np.convolve(np.pad(c, 6, mode="edge"), kernel, "valid"), 0, pixels)
    return float(np.var((pixels - low).mean(axis=1)) / np.var(pixels - low))


def sunset(height: int = 300, width: int = 400) -> Pixels:
    """A smooth sky of 8 bits over flat ground."""
    t = np.linspace(0, 1, height * 2 // 3)[:, None, None]
    sky = (1 - t) * np.array([0.2, 0.3, 0.6]) + t * np.array([0.95, 0.6, 0.3])
    ground = np.broadcast_to(np.array([0.08, 0.07, 0.1]), (height - len(t), 1, 3))
    rows = np.broadcast_to(np.concatenate([sky, ground]), (height, width, 3))
    return (np.round(rows * 255) / 255).astype(np.float32)


def noises() -> dict[str, Pixels]:
    """Dark noise, and a sky with grain."""
    rng = np.random.default_rng(0)
    dark = 0.06 + 0.02 * rng.standard_normal((320, 320, 3))
    t = np.linspace(0, 1, 320)[:, None, None]
    sky = (1 - t) * np.array([0.35, 0.55, 0.85]) + t * np.array([0.75, 0.85, 0.95])
    grain = np.broadcast_to(sky, dark.shape) + 0.012 * rng.standard_normal(dark.shape)
    return {"dark": np.clip(dark, 0, 1).astype(np.float32), "sky": np.clip(grain, 0, 1).astype(np.float32)}
