"""A whole training step, batch 4 at 256 x 256, against PyTorch: `python -m bench.speed.training`.

It comprises both networks forward and backward, the features of the photos, and Adam.
"""

from collections.abc import Sequence

import numpy as np
import torch

from bench.speed.networks import as_torch
from bench.speed.pairing import OURS, Results, Run, Work, main
from bench.speed.torch_nets import Features, Transformer, perceptual_loss, tensor
from nanostyle.diagnostics.speed import picture, transformer, vgg19
from nanostyle.nets.cost import transformer_flops, vgg_flops
from nanostyle.nn.module import parameters
from nanostyle.optim.adam import Adam
from nanostyle.training.objective import Objective
from nanostyle.training.options import TrainOptions
from nanostyle.training.style_task import StyleTask


def works(quick: bool) -> Sequence[Work]:
    """The one step; `quick`: a smaller batch of smaller photos."""
    batch, size = (2, 128) if quick else (4, 256)
    # The gradients to input and to weights cost what the forward pass costs, each.
    flops = 3 * batch * (transformer_flops(transformer(), size, size) + vgg_flops(vgg19(), size, size))
    # The gradient: see networks.py.
    tolerance = {"loss": 1e-4, "gradient": 2e-2}
    return [Work(f"step {batch}x{size}x{size}", lambda contestant: _step(contestant, batch, size), flops, tolerance)]


def _step(contestant: str, batch: int, size: int) -> Run:
    options = TrainOptions(grid_weight=0)  # PyTorch's side has the papers' losses
    net, network = transformer(), vgg19()
    photos, painting = picture(batch, size, size), picture(1, size, size, seed=1)
    objective = Objective(network, options)

    if contestant == OURS:
        # Biases that a norm takes out again are not trained here, and have a gradient of 0 there.
        trained = {name: p for name, p in parameters(net).items() if p.requires_grad}
        task, adam = StyleTask("feedforward", net, {"painting": painting[0]}, objective), Adam(trained, lr=options.lr)

        def run() -> Results:
            loss, _ = task.losses(photos, **task.inputs(0, batch))
            loss.backward()
            gradient = [p.grad if p.requires_grad else np.zeros_like(p.data) for p in parameters(net).values()]
            adam.step()
            return {"loss": loss.item(), "gradient": gradient}

        return run

    model, x = as_torch(Transformer(net), tensor(photos), contestant)
    features, _ = as_torch(Features(network), x, contestant)
    grams = [torch.from_numpy(G) for G in objective.grams(painting).values()]
    weights = {"content": options.content_weight, "style": options.style_weight / len(grams)}
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)

    def run_torch() -> Results:
        optimizer.zero_grad()
        with torch.no_grad():
            aim = features(x)[-1]
        loss = perceptual_loss(features(model(x)), aim, grams, weights)
        loss.backward()
        gradient = [_ours(p.grad) for p in model.parameters()]
        optimizer.step()
        return {"loss": loss.item(), "gradient": gradient}

    return run_torch


def _ours(g: torch.Tensor) -> torch.Tensor:
    """A gradient of PyTorch with its axes in the order of our weights."""
    return g.permute(2, 3, 1, 0) if g.ndim == 4 else g


if __name__ == "__main__":
    main("training", works)
