"""Where the repository is, and the data that some tests need: in NANOSTYLE_DATA, or beside the checkout."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("NANOSTYLE_DATA") or ROOT.parent / "shared" / "data")
