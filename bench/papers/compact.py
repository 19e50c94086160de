"""The built-in loss network against VGG-19 in Gatys' method, judged by VGG-19: `python -m bench.papers.compact`.

For pairs of photo and painting: content and style loss of the result with the slim network, as multiples of those of
the result with VGG-19, after as many iterations with the same options. Also the processor time of an iteration with
each, measured in turns. Results with VGG-19 are kept in `runs/compact`: they are the same every time.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

from bench.folders import RESULTS, RUNS, from_data
from nanostyle.backend.threads import set_threads, thread_count
from nanostyle.backend.types import Pixels
from nanostyle.io.atomic import replacing, sha256
from nanostyle.io.contact_sheet import sheet
from nanostyle.io.image_read import load_image
from nanostyle.io.image_write import save_image
from nanostyle.methods.gatys import gatys
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.models.loss_network import loss_network
from nanostyle.models.registry import find
from nanostyle.nets.perceptual import PerceptualLoss, PixelObjective, StyleTarget
from nanostyle.nets.vgg import LossNetwork

PHOTOS = ("tubingen", "chelsea", "kodim08", "golden_gate", "astronaut", "lion")
PAINTINGS = (
    "starry_night_van_gogh",
    "great_wave_hokusai",
    "composition_vii_kandinsky",
    "water_lilies_monet",
    "udnie_picabia",
    "scream_munch",
)
EIGHT_PAINTINGS = (*PAINTINGS, "kiss_klimt", "port_en_bessin_seurat")

Losses = dict[str, float]


def stylized(photo: Pixels, painting: Pixels, network: LossNetwork, options: GatysOptions) -> Pixels:
    """The result of Gatys' method."""
    *_, last = gatys(photo, [painting], network, options)
    return last.pixels


def remembered(file: Path, photo: Pixels, painting: Pixels, network: LossNetwork, options: GatysOptions) -> Pixels:
    """The result of Gatys' method, read from `file` if it is there."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, stylized(photo, painting, network, options))
    return np.asarray(np.load(file), np.float32)


def judge(made: Mapping[str, Pixels], photo: Pixels, painting: Pixels, judge: LossNetwork) -> dict[str, Losses]:
    """Content and style loss of each picture by the network `judge`, relative and without weights."""
    loss = PerceptualLoss(judge)
    objective = PixelObjective(loss, photo[None], [StyleTarget(loss.grams(painting[None]))])
    terms = {name: objective.terms(objective(pixels[None])[0]) for name, pixels in made.items()}
    return {name: {"content": t["content"], "style": t["style"]} for name, t in terms.items()}


def seconds_per_iteration(networks: Mapping[str, LossNetwork], size: int, rounds: int, iterations: int = 6) -> Losses:
    """The median time of an iteration with each network at `size` x `size` pixels, measured in turns.

    The processor's time, over all threads: other work on the machine counts less than by the clock.
    """
    rng = np.random.default_rng(0)
    photo, painting = rng.random((2, size, size, 3), np.float32)
    times: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(rounds):
        for name, network in networks.items():
            marks = []
            for _ in gatys(
                photo, [painting], network, GatysOptions(iterations=iterations, pyramid=False, least_gain=0)
            ):
                marks.append(time.process_time())
            times[name] += list(np.diff(marks)[1:])
    return {name: float(median(found)) for name, found in times.items()}


def command_line() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss-net", default="builtin")
    parser.add_argument("--judge", default="vgg19")
    parser.add_argument("--demo", **from_data("demo", "folder with the folders content and style"))
    parser.add_argument("--photos", nargs="+", default=PHOTOS)
    parser.add_argument("--paintings", nargs="+", default=PAINTINGS)
    parser.add_argument("--size", type=int, default=256, help="long side")
    parser.add_argument("--iterations", type=int, default=100)
    default = GatysOptions().content_weight
    parser.add_argument("--content-weight", type=float, default=default, help=f"for both networks (default: {default})")
    parser.add_argument("--cache", type=Path, default=RUNS / "compact")
    parser.add_argument("--timing", type=int, default=256, help="side of the picture for timing; 0: no timing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "compact.json")
    parser.add_argument("--sheet", type=Path, help="a PNG of photo, painting and both results")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def main() -> None:
    """Run the comparison."""
    given = command_line()
    set_threads(given.threads)

    networks = {"vgg19": loss_network(given.judge), "slim": loss_network(given.loss_net)}
    options = GatysOptions(
        iterations=given.iterations, content_weight=given.content_weight, pyramid=False, least_gain=0
    )
    files = {"vgg19": sha256(find(given.judge)), "slim": sha256(find(given.loss_net))}
    pairs: dict[str, Any] = {}
    rows, captions = [], []
    for photo_name in given.photos:
        for painting_name in given.paintings:
            photo = load_image(given.demo / "content" / f"{photo_name}.jpg", size=given.size).pixels
            painting = load_image(given.demo / "style" / f"{painting_name}.jpg", size=given.size).pixels
            stem = f"{photo_name}-{painting_name}-{given.size}-{given.iterations}-{given.content_weight:g}"
            made = {
                name: remembered(given.cache / f"{stem}-{files[name][:12]}.npy", photo, painting, network, options)
                for name, network in networks.items()
            }
            found = judge({"photo": photo, **made}, photo, painting, networks["vgg19"])
            ratio = {term: found["slim"][term] / found["vgg19"][term] for term in ("content", "style")}
            pairs[f"{photo_name} x {painting_name}"] = {**found, "ratio": ratio}
            print(f"{stem}: content x{ratio['content']:.2f}, style x{ratio['style']:.2f}", flush=True)
            rows.append([photo, painting, made["vgg19"], made["slim"]])
            captions.append(["", "", *(f"c {found[n]['content']:.2f} s {found[n]['style']:.4f}" for n in made)])

    results: dict[str, Any] = {
        "files": files,
        "size": given.size,
        "iterations": given.iterations,
        "content_weight": given.content_weight,
        "pairs": pairs,
        "ratio": summary([pair["ratio"] for pair in pairs.values()]),
    }
    if given.timing:
        seconds = seconds_per_iteration(networks, given.timing, given.rounds)
        speed = {"side": given.timing, "threads": thread_count(), "seconds": seconds}
        results["time"] = {**speed, "times_faster": seconds["vgg19"] / seconds["slim"]}
        print(results["time"])
    print(json.dumps(results["ratio"]))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(given.output) as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
    if given.sheet:
        save_image(given.sheet, sheet(rows, column_labels=["photo", "painting", "VGG-19", "slim"], captions=captions))


def summary(ratios: list[Losses]) -> dict[str, Any]:
    """Over the pairs: the geometric mean, the worst, and how many keep to 1.3 times the content and twice the style."""
    columns = {term: [r[term] for r in ratios] for term in ("content", "style")}
    within = sum(r["content"] <= 1.3 and r["style"] <= 2 for r in ratios)
    means = {term: {"mean": geometric_mean(values), "worst": max(values)} for term, values in columns.items()}
    return {**means, "within": within, "pairs": len(ratios)}


if __name__ == "__main__":
    main()
