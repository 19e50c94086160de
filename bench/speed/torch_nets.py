"""The same networks in PyTorch, as its users write them, with our weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from nanostyle.nets.perceptual import PixelObjective
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.vgg import LossNetwork
from nanostyle.nn.module import state


def tensor(x: np.ndarray) -> torch.Tensor:
    """Pictures `(N, H, W, C)` as PyTorch has them, `(N, C, H, W)`: a copy."""
    return torch.from_numpy(np.ascontiguousarray(np.asarray(x).transpose(0, 3, 1, 2)))


def pictures(x: torch.Tensor) -> np.ndarray:
    """The inverse of `tensor`: `(N, C, H, W)` to `(N, H, W, C)`."""
    return np.asarray(x.detach().permute(0, 2, 3, 1))


def _convolution(weight: np.ndarray, bias: np.ndarray, **options: Any) -> nn.Conv2d:
    K, _, C, M = weight.shape
    layer = nn.Conv2d(C, M, K, **options)
    layer.weight.data = torch.from_numpy(np.ascontiguousarray(weight.transpose(3, 2, 0, 1)))
    layer.bias.data = torch.from_numpy(bias.copy())
    return layer


class Transformer(nn.Module):
    """Johnson's network with instance norm; `Upsample` or `ConvTranspose2d` as in `net`."""

    def __init__(self, net: TransformerNet) -> None:
        super().__init__()
        values = state(net)
        self.fractional = net.config["upsample"] == "fractional"

        def convolution(name: str, stride: int = 1) -> nn.Conv2d:
            w = values[f"{name}/weight"]
            mirrored = {"padding": w.shape[0] // 2, "padding_mode": "reflect"}
            return _convolution(w, values[f"{name}/bias"], stride=stride, **mirrored)

        def up(name: str) -> nn.Module:
            if not self.fractional:
                return nn.Sequential(nn.Upsample(scale_factor=2), convolution(name))
            w = values[f"{name}/weight"]
            layer = nn.ConvTranspose2d(w.shape[2], w.shape[3], 3, stride=2, padding=1, output_padding=1)
            layer.weight.data = torch.from_numpy(np.ascontiguousarray(w.transpose(2, 3, 0, 1)))
            layer.bias.data = torch.from_numpy(values[f"{name}/bias"].copy())
            return layer

        def norm(name: str) -> nn.InstanceNorm2d:
            gamma, beta = (values[f"{name}/norm/{k}"].reshape(-1) for k in ("gamma", "beta"))
            layer = nn.InstanceNorm2d(gamma.size, affine=True)
            layer.weight.data, layer.bias.data = torch.from_numpy(gamma.copy()), torch.from_numpy(beta.copy())
            return layer

        def block(layer: nn.Module, name: str, relu: bool = True) -> nn.Sequential:
            return nn.Sequential(layer, norm(name), *([nn.ReLU(inplace=True)] if relu else []))

        self.head = nn.Sequential(
            block(convolution("conv1"), "conv1"), *(block(convolution(n, 2), n) for n in ("conv2", "conv3"))
        )
        self.residual = nn.ModuleList(
            nn.Sequential(
                *(block(convolution(f"residual{i}/{n}"), f"residual{i}/{n}", n == "conv1") for n in ("conv1", "conv2"))
            )
            for i in range(1, 6)
        )
        self.tail = nn.Sequential(*(block(up(n), n) for n in ("up1", "up2")), convolution("output"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Stylize pictures `(N, 3, H, W)` whose sides 4 divides."""
        x = self.head(x)
        for block in self.residual:
            x = x + block(x)
        return (torch.tanh(self.tail(x)) + 1) * 0.5


class Features(nn.Module):
    """The loss network; `forward` returns the style layers in order."""

    def __init__(self, network: LossNetwork) -> None:
        super().__init__()
        self.names, self.kept = list(network.layers), set(network.style_layers)
        layers: list[nn.Module] = []
        for name in self.names:
            if name.startswith("conv"):
                layers.append(_convolution(*network.weights[name], padding=1))
            else:
                layers.append(nn.ReLU(inplace=True) if name.startswith("relu") else nn.MaxPool2d(2))
        self.layers = nn.ModuleList(layers).requires_grad_(False)
        self.register_buffer("mean", torch.from_numpy(network.mean.copy()).reshape(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """From pictures `(N, 3, H, W)`, RGB in 0..1."""
        x, out = x - self.mean, []
        for name, layer in zip(self.names, self.layers, strict=True):
            x = layer(x)
            if name in self.kept:
                out.append(x)
        return out


def gram(f: torch.Tensor) -> torch.Tensor:
    """`(N, C, C)`: the mean over the pixels of the products of channels."""
    N, C, H, W = f.shape
    flat = f.reshape(N, C, H * W)
    return torch.bmm(flat, flat.transpose(1, 2)) / (H * W)


def relative(x: torch.Tensor, aim: torch.Tensor) -> torch.Tensor:
    """The mean over the pictures of ||x - aim||² / ||aim||²."""
    return ((x - aim).flatten(1).square().sum(1) / aim.flatten(1).square().sum(1)).mean()


def targets(objective: PixelObjective) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Content and Gram matrices of an objective of ours, as `perceptual_loss` takes them."""
    (content,) = objective.content.values()
    return tensor(content), [torch.from_numpy(G) for G in objective.styles[0].grams.values()]


def perceptual_loss(
    features: list[torch.Tensor], aim: torch.Tensor, grams: list[torch.Tensor], weights: Mapping[str, float]
) -> torch.Tensor:
    """Content at the last feature and style at all of them, each mean times its weight."""
    style = sum(relative(gram(f), G) for f, G in zip(features, grams, strict=True))
    return weights["content"] * relative(features[-1], aim) + weights["style"] * style
