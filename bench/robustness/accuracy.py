"""How exact is the gradient of Gatys' method in float32? `python -m bench.robustness.accuracy [--loss-net vgg19]`

The whole gradient, from the loss (content and style of VGG-19 up to relu4_1) to the pixels, is compared with float64
over several seeds: with Winograd's algorithm in tiles of 4 (the default) and of 2, and without it. A ReLU or a
maximum near a tie may decide differently in float32. That changes the gradient by 1e-4 to 3e-3, in PyTorch too, so
the decisions that differ are counted.
"""

import argparse
import json
from pathlib import Path
from statistics import median

import numpy as np

from bench.folders import RESULTS
from nanostyle.autograd.tensor import Tensor, no_grad
from nanostyle.backend.cpu import conv
from nanostyle.backend.types import Array
from nanostyle.diagnostics.speed import gatys_objective, picture, vgg19
from nanostyle.io.atomic import replacing
from nanostyle.models.loss_network import loss_network
from nanostyle.nets.vgg import LossNetwork

TILES = {"Winograd, tiles of 4": 4, "Winograd, tiles of 2": 2, "im2col": 0}


def gradient(network: LossNetwork, pictures: list[Array]) -> Array:
    """The gradient of the loss of `(photo, aim, painting)` with respect to the photo."""
    photo, aim, painting = pictures
    return gatys_objective(network, aim, painting)(photo)[1]


def decisions(network: LossNetwork, photo: Array) -> list[Array]:
    """For each ReLU, which values pass; for each pool, which of four values is the largest."""
    relus = [name for name in network.layers if name.startswith("relu")]
    with no_grad():
        features = {name: f.data for name, f in network.features(Tensor(photo), relus).items()}
    found = [f > 0 for f in features.values()]
    for name, after in zip(network.layers, network.layers[1:], strict=False):
        if after.startswith("pool"):
            N, H, W, C = features[name].shape
            blocks = features[name][:, : H // 2 * 2, : W // 2 * 2].reshape(N, H // 2, 2, W // 2, 2, C)
            found.append(blocks.transpose(0, 1, 3, 5, 2, 4).reshape(N, H // 2, W // 2, C, 4).argmax(axis=-1))
    return found


def measure(networks: tuple[LossNetwork, LossNetwork], side: int, seed: int) -> dict[str, dict[str, float]]:
    """The relative error of the gradient and the number of decisions that differ, for each way to convolve."""
    pictures = [picture(1, side, side, seed=3 * seed + i) for i in range(3)]
    single, double = networks
    wide = [x.astype(np.float64) for x in pictures]
    exact, truth = gradient(double, wide), decisions(double, wide[0])
    rows = {}
    for way, tile in TILES.items():
        conv.TILE = tile
        error = np.linalg.norm(gradient(single, pictures) - exact) / np.linalg.norm(exact)
        flips = sum(int((a != b).sum()) for a, b in zip(decisions(single, pictures[0]), truth, strict=True))
        rows[way] = {"error": float(error), "flips": flips}
    return rows


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Print the table and write it to `--output`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss-net", help="a loss network; default: VGG-19 with random weights, others for each seed")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=RESULTS / "accuracy.json")
    given = parser.parse_args(arguments)
    found = []
    for seed in range(given.seeds):
        if given.loss_net:
            networks = loss_network(given.loss_net), loss_network(given.loss_net, dtype=np.float64)
        else:
            networks = vgg19(seed=seed), vgg19(seed=seed, dtype=np.float64)
        found.append(measure(networks, given.size, seed))
    report: dict[str, dict[str, float]] = {}
    for way in TILES:
        errors, flips = ([row[way][key] for row in found] for key in ("error", "flips"))
        calm = [e for e, n in zip(errors, flips, strict=True) if n == 0]
        report[way] = {"median": median(errors), "largest": max(errors), "seeds without a flip": len(calm)}
        if calm:
            report[way]["largest without a flip"] = max(calm)
        print(f"{way}: {', '.join(f'{k} {v:.2g}' for k, v in report[way].items())}; flips {flips}")
    given.output.parent.mkdir(exist_ok=True)
    with replacing(given.output) as temporary:
        temporary.write_text(json.dumps({"network": given.loss_net or "random", "size": given.size} | report) + "\n")
    return report


if __name__ == "__main__":
    main()
