"""Build the page that stylizes in the browser alone: `python docs/demo/build.py [FOLDER]`, by default build/demo.

The folder then holds static files for any web server: the page, the model as `nanostyle export` writes it, ONNX Runtime
Web from npm (14 MB), and two pictures to begin with. To look at it: `python -m http.server -d build/demo`.

Needs the extra `onnx` of nanostyle, and npm.
"""

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from nanostyle.export.onnx import ExportOptions, export_onnx
from nanostyle.models.predictor import load_predictor
from nanostyle.models.registry import TRAINED, find

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ("index.html", "style.css", "page.mjs", "worker.mjs", "network.mjs")
COLORS = ROOT / "nanostyle" / "server" / "page" / "colors.css"
EXAMPLES = ("photo.jpg", "painting.jpg")

PACKAGE = "onnxruntime-web@1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def build(folder: Path) -> None:
    """Write the page and all that it needs into `folder`; files of an earlier build are replaced."""
    (folder / "ort").mkdir(parents=True, exist_ok=True)
    for name in PAGE:
        shutil.copy(HERE / name, folder / name)
    shutil.copy(COLORS, folder / COLORS.name)
    for name in EXAMPLES:
        shutil.copy(ROOT / "docs" / "pictures" / name, folder / name)
    # The built-in weights are float16: nothing is lost.
    export_onnx("any", folder / "any.onnx", ExportOptions(storage="float16"), overwrite=True)
    model = load_predictor(find("any", TRAINED))
    facts = {"style_size": model.style_size, "license": model.license}
    (folder / "model.json").write_text(json.dumps(facts) + "\n")
    for name, data in runtime().items():
        (folder / "ort" / name).write_bytes(data)


def runtime() -> dict[str, bytes]:
    """The files of ONNX Runtime Web that the page needs, of the one package whose digest stands here."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is not installed: it gets ONNX Runtime Web")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (package,) = Path(folder).glob("*.tgz")
        digest = hashlib.sha512(package.read_bytes()).digest()
        if f"sha512-{base64.b64encode(digest).decode()}" != INTEGRITY:
            sys.exit(f"{PACKAGE} is not the package that this page was tested with")
        with tarfile.open(package) as archive:
            found = {name: archive.extractfile(f"package/dist/{name}") for name in RUNTIME}
            return {name: file.read() for name, file in found.items() if file is not None}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python docs/demo/build.py", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "demo", help="default: build/demo")
    target = parser.parse_args().folder
    build(target)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 1e6:.0f} MB; to look at it: python -m http.server -d {target}")
