"""Stylizing against PyTorch, ONNX Runtime and OpenVINO, and the loss network with its gradient against PyTorch.

python -m bench.speed.networks
"""

from collections.abc import Sequence

import numpy as np
import torch

from bench.speed import runtimes
from bench.speed.onnx_nets import graph_of
from bench.speed.pairing import CHANNELS_LAST, COMPILED, OURS, Results, Run, Work, main
from bench.speed.torch_nets import Features, Transformer, perceptual_loss, pictures, targets, tensor
from nanostyle.backend.threads import thread_count
from nanostyle.diagnostics.speed import (
    SIZES,
    gatys_objective,
    picture,
    stylize,
    transformer,
    vgg19,
)
from nanostyle.nets.cost import transformer_flops, vgg_flops


def works(quick: bool) -> Sequence[Work]:
    """Every work at every size; `quick`: at the smallest alone."""
    sizes = dict(list(SIZES.items())[: 1 if quick else None])
    every = [_stylizing(name, H, W, "nearest") for name, (H, W) in sizes.items()]
    every += [_stylizing(name, H, W, "fractional") for name, (H, W) in list(sizes.items())[:2]]
    return every + [_gradient(name, H, W) for name, (H, W) in list(sizes.items())[:2]]


def _rounds(H: int, W: int) -> int:
    return max(3, min(15, 15 * 256 * 256 // (H * W)))


def _stylizing(size: str, H: int, W: int, upsample: str) -> Work:
    def build(contestant: str) -> Run:
        net, photo = transformer(upsample), picture(1, H, W)
        if contestant == OURS:
            return lambda: {"picture": stylize(net, photo)}
        if contestant in runtimes.installed():
            loaded = runtimes.loaded(contestant, graph_of(net, H, W), thread_count())
            planes = np.ascontiguousarray(photo.transpose(0, 3, 1, 2))
            return lambda: {"picture": loaded(planes).transpose(0, 2, 3, 1)}
        model, x = as_torch(Transformer(net).eval(), tensor(photo), contestant)

        def run() -> Results:
            with torch.inference_mode():
                return {"picture": pictures(model(x))}

        return run

    flops = transformer_flops(transformer(upsample), H, W)
    tolerance = {"picture": 1e-4}
    return Work(f"transformer {upsample} {size}", build, flops, tolerance, _rounds(H, W), peers=runtimes.installed())


def _gradient(size: str, H: int, W: int) -> Work:
    def build(contestant: str) -> Run:
        network, photo = vgg19(), picture(1, H, W)
        objective = gatys_objective(network, picture(1, H, W, seed=1), picture(1, H, W, seed=2))
        if contestant == OURS:

            def ours() -> Results:
                values, gradient = objective(photo)
                return {"loss": float(values[-1]), "gradient": gradient}

            return ours
        model, x = as_torch(Features(network), tensor(photo), contestant)
        aim, grams = targets(objective)
        x.requires_grad_(True)

        def run() -> Results:
            x.grad = None
            loss = perceptual_loss(model(x), aim, grams, {"content": 1, "style": 1})
            loss.backward()
            return {"loss": loss.item(), "gradient": pictures(x.grad)}

        return run

    # One ReLU or pool that decides otherwise near a tie changes the gradient by 1e-4 to 3e-3, PyTorch's too.
    tolerance = {"loss": 1e-4, "gradient": 2e-2}
    return Work(f"VGG-19 gradient {size}", build, 2 * vgg_flops(vgg19(), H, W), tolerance, _rounds(H, W))


def as_torch(model: torch.nn.Module, x: torch.Tensor, contestant: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """`model` and its input in the contestant's layout, compiled where the contestant is."""
    if contestant.endswith(CHANNELS_LAST):
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    return (torch.compile(model) if contestant in COMPILED else model), x


if __name__ == "__main__":
    main("networks", works)
