"""The trained models that ship, made again from a clean checkout.

    python -m weights.train_builtin styles --photos DIR --paintings DIR --vgg19 vgg19.h5

A recipe is a command line of `nanostyle train`. The model is trained beside `--work`, goes on where it was interrupted,
and takes its place in `weights/builtin`, and in `SHA256SUMS`, when it is done. `loss.h5` has a script of its own,
`distill.py`.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from nanostyle.cli import command as nanostyle
from nanostyle.data import style_files
from nanostyle.errors import NanostyleError
from nanostyle.files import replacing
from nanostyle.weightfile import sha256

HERE = Path(__file__).parent

LICENSE = "Apache-2.0; paintings in the public domain; trained against VGG-19, CC BY 4.0 (Simonyan and Zisserman)"

# By model: its paintings, as files are called without their ending (empty: all there are), and the options.
RECIPES: dict[str, tuple[tuple[str, ...], str]] = {
    "styles": (
        (
            "composition_vii_kandinsky",
            "great_wave_hokusai",
            "red_and_blue_horse_marc",
            "scream_munch",
            "starry_night_van_gogh",
            "udnie_picabia",
            "water_lilies_monet",
            "wheat_field_van_gogh",
        ),
        "--mode cin --width 0.5 --size 192 --style-size 256 --batch 2 --steps 2100 --storage float16",
    ),
}


def words(model: str, photos: Path, paintings: Path, vgg19: Path, output: Path) -> list[str]:
    """The words after `nanostyle` that train `model`.

    Raises
    ------
    NanostyleError
        A painting of the recipe is not in the folder.
    """
    names, options = RECIPES[model]
    there = style_files([paintings])
    if missing := [name for name in names if name not in there]:
        raise NanostyleError(f"{paintings}: expected a picture {missing[0]}, found {', '.join(there)}; add it")
    styles = [word for name in names or there for word in ("--styles", str(there[name]))]
    given = ["--content", str(photos), *styles, "--loss-net", str(vgg19), "--license", LICENSE]
    return ["train", *options.split(), *given, "--resume", "-o", str(output)]


def publish(model: Path, folder: Path = HERE) -> None:
    """Put `model` into its place, and its checksum into the list."""
    with replacing(folder / "builtin" / model.name) as temporary:
        shutil.copyfile(model, temporary)
    with replacing(folder / "SHA256SUMS") as temporary:
        files = sorted((folder / "builtin").glob("*.h5"))
        temporary.write_text("".join(f"{sha256(file)}  builtin/{file.name}\n" for file in files))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one of the models, and publish it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--vgg19", type=Path, required=True, help="as `nanostyle weights convert` writes it")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="where the training keeps its state")
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    output = given.work / f"{given.model}.h5"
    nanostyle.main(words(given.model, given.photos, given.paintings, given.vgg19, output), standalone_mode=False)
    publish(output)


if __name__ == "__main__":
    main()
