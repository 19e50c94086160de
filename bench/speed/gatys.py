"""Gatys' method, 50 iterations of L-BFGS at 384 x 384, against `torch.optim.LBFGS`: `python -m bench.speed.gatys`.

Both use a strong Wolfe line search and the same losses. The line searches differ in detail, so the steps differ too:
the losses at the end must agree within 5 %.
"""

from collections.abc import Sequence

import torch

from bench.speed.networks import as_torch
from bench.speed.pairing import CHANNELS_LAST, OURS, Results, Run, Work, main
from bench.speed.torch_nets import Features, perceptual_loss, targets, tensor
from nanostyle.diagnostics.speed import gatys_objective, picture, vgg19
from nanostyle.methods.gatys import gatys
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.nets.cost import vgg_flops


def works(quick: bool) -> Sequence[Work]:
    """The one work; `quick`: fewer iterations on a smaller picture."""
    size, iterations = (128, 10) if quick else (384, 50)
    # An iteration evaluates the loss and its gradient once, and now and then once more.
    flops = iterations * 2 * vgg_flops(vgg19(), size, size)
    name = f"{iterations} iterations {size}x{size}"
    tolerance = {"loss": 0.05}
    return [Work(name, lambda c: _optimize(c, size, iterations), flops, tolerance, rounds=2, long=True)]


def _optimize(contestant: str, size: int, iterations: int) -> Run:
    options = GatysOptions(iterations=iterations, pyramid=False, least_gain=0)
    network = vgg19()
    photo, painting = picture(1, size, size), picture(1, size, size, seed=1)

    if contestant == OURS:

        def run() -> Results:
            *_, last = gatys(photo[0], [painting[0]], network, options)
            return {"loss": last.loss}

        return run

    model, _ = as_torch(Features(network), tensor(photo), contestant)
    # torch.optim.LBFGS wants its parameter in PyTorch's own layout: only the network sees the other one.
    layout = torch.channels_last if contestant.endswith(CHANNELS_LAST) else torch.contiguous_format
    aim, grams = targets(gatys_objective(network, photo, painting))
    weights = {"content": options.content_weight, "style": options.style_weight / len(grams)}

    def run_torch() -> Results:
        x = tensor(photo).requires_grad_(True)
        optimizer = torch.optim.LBFGS(
            [x],
            max_iter=iterations,
            max_eval=25 * iterations,
            history_size=20,
            tolerance_grad=0,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            features = model(x.contiguous(memory_format=layout))
            loss = perceptual_loss(features, aim, grams, weights) + options.tv_weight * _total_variation(x)
            loss.backward()
            return loss

        optimizer.step(closure)
        return {"loss": closure().item()}

    return run_torch


def _total_variation(x: torch.Tensor) -> torch.Tensor:
    down, right = x[:, :, 1:] - x[:, :, :-1], x[:, :, :, 1:] - x[:, :, :, :-1]
    return (down.square().sum() + right.square().sum()) / x.numel()


if __name__ == "__main__":
    main("gatys", works)
