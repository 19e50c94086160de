"""Is a picture in bands of rows the same as in one piece? `python -m bench.robustness.bands`

A photo of 2,048 pixels square is stylized by each one-pass method in one piece and in rows, with masks, a strength and
blends. The greatest difference is told, of values in 0..1; 1/255 is a step of 8 bits.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.folders import RESULTS, ROOT
from nanostyle.methods.result import LargeResult
from nanostyle.methods.stylizer import Stylizer
from nanostyle.models.multistyle import Model, save_model
from nanostyle.nets.transformer import TransformerNet
from nanostyle.nets.transformer_config import transformer_config

PICTURES = ROOT / "docs" / "pictures"
ART, OTHER = PICTURES / "painting.jpg", PICTURES / "photo.jpg"
NAMES = ["scream_munch", "udnie_picabia"]
MOST = 1 / 255


def cases(side: int, network: Path) -> dict[str, tuple[Any, dict[str, Any]]]:
    """What is tried: the style, and the options."""
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (256, 1))
    masks: dict[str, Any] = {"masks": [ramp, 1 - ramp]}
    once = {"strokes": min(side, 4096)}  # one pass; by default there are several
    return {
        "predict, blend, strength 0.6": ([ART, OTHER], {**once, "strength": 0.6}),
        "predict, masks": ([ART, OTHER], {**once, **masks}),
        "cin, blend, strength 0.6": (NAMES, {**once, "strength": 0.6}),
        "cin, masks": (NAMES, {**once, **masks}),
        "feedforward, strength 0.6": (None, {**once, "model": network, "strength": 0.6}),
        "feedforward, mask": (None, {**once, "model": network, "masks": [ramp]}),
        "predict and cin, blend": ([ART, NAMES[0]], once),
        "predict": (ART, {}),
        "cin": (NAMES[0], {}),
    }


def difference(photo: Path, style: Any, how: dict[str, Any], memory: str) -> float:
    """The greatest difference between the results in one piece and in rows."""
    whole = Stylizer(style, **how, max_memory="1TB").stylize(photo)
    rows = Stylizer(style, **how, max_memory=memory).stylize(photo)
    if isinstance(whole, LargeResult) or not isinstance(rows, LargeResult):
        raise RuntimeError("the memory does not part the two ways")
    return float(np.abs(whole.pixels - rows.pixels).max())


def network_of_one_style(path: Path) -> Path:
    """A network of random weights: none of one style comes with the program."""
    net = TransformerNet(transformer_config("johnson", width=0.25), np.random.default_rng(0))
    save_model(path, Model(net, ["random"]))
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.robustness.bands", description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--memory", default="250MB")
    parser.add_argument("--output", type=Path, default=RESULTS / "bands.json")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        Image.open(OTHER).resize((options.side, options.side)).save(photo)
        network = network_of_one_style(Path(folder) / "one.h5")
        found: dict[str, float] = {}
        for name, (style, how) in cases(options.side, network).items():
            found[name] = difference(photo, style, how, options.memory)
            print(f"{name}: {found[name]:.2e}", flush=True)
            where = {"system": platform.platform(), "numpy": np.__version__, "date": time.strftime("%Y-%m-%d")}
            report = {**where, "side": options.side, "memory": options.memory, "differences": found}
            options.output.write_text(json.dumps(report, indent=1) + "\n")
    raise SystemExit(max(found.values()) > MOST)


if __name__ == "__main__":
    main()
