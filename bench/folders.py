"""Where measurements find their data, work, and leave their results."""

import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
RUNS = ROOT / "runs"


def from_data(folder: str, what: str) -> dict[str, Any]:
    """An option that names a folder. Its default is `folder` in NANOSTYLE_DATA; it is required where that is not set.

    NANOSTYLE_DATA names a folder with `photos`, `styles`, `demo/content`, `demo/style` and `peer-models`.
    """
    data = os.environ.get("NANOSTYLE_DATA")
    default = {"default": Path(data, folder)} if data else {"required": True}
    return {"type": Path, "metavar": "DIR", "help": f"{what}; default: {folder} in NANOSTYLE_DATA", **default}
