"""Train the models that ship again, from a clean checkout.

    python -m weights.train_builtin styles --photos DIR --paintings DIR --vgg19 vgg19.h5

A recipe is one or several nanostyle commands; each begins with the model of the one before. Trainings run in the
folder `--work`, and an interrupted one resumes when the script is called again. The result goes to `weights/builtin`,
its checksum to `SHA256SUMS`. `distill.py` makes `loss.h5`.
"""

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from nanostyle.cli import command as nanostyle
from nanostyle.errors import NanostyleError
from nanostyle.io.atomic import replacing, sha256
from nanostyle.io.pictures import style_files
from nanostyle.io.weights import load_weights, save_weights

HERE = Path(__file__).parent

VGG = "VGG-19, CC BY 4.0 (Simonyan and Zisserman)"
LICENSES = {
    "styles": f"Apache-2.0; paintings in the public domain; trained against {VGG}",
    "any": f"Apache-2.0, and CC BY 4.0 for the layers that look at paintings, which come from {VGG}",
}


class Stage(NamedTuple):
    """A command line, in which {before} stands for the model of the stage before and {vgg19} for the loss network.

    `paintings` are names of files without their ending; empty: all there are but those of which `without` is a part.
    Of names that begin with a key of `thinned` every n-th is taken. With a `share` below 1 the stage gives a mean of
    what it trained, in that share, and the model of the stage before.
    """

    command: str
    paintings: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    thinned: Mapping[str, int] = {}
    share: float = 1.0

    def takes(self, there: Sequence[str]) -> list[str]:
        """Those of the names `there` that the stage learns from."""
        found = list(self.paintings) or [name for name in there if not any(part in name for part in self.without)]
        for start, n in self.thinned.items():
            some = [name for name in found if name.startswith(start)]
            found = [name for name in found if name not in some or name in some[::n]]
        return found


# Textures that are grids themselves: in DTD, by what their names say.
GRIDS = ("banded", "braided", "chequered", "crosshatched")


SIXTEEN = (
    "composition_vii_kandinsky",
    "great_wave_hokusai",
    "red_and_blue_horse_marc",
    "scream_munch",
    "starry_night_van_gogh",
    "udnie_picabia",
    "water_lilies_monet",
    "wheat_field_van_gogh",
    "gray_tree_mondrian",
    "irises_van_gogh",
    "japanese_bridge_monet",
    "kiss_klimt",
    "mont_sainte_victoire_cezanne",
    "port_en_bessin_seurat",
    "shipwreck_turner",
    "when_will_you_marry_gauguin",
)

THIRTY_TWO = (
    *SIXTEEN,
    "bedroom_van_gogh",
    "body_of_abel_blake",
    "chariot_of_apollo_moreau",
    "cotopaxi_church",
    "deluge_kandinsky",
    "dream_boccioni",
    "friederike_beer_schiele",
    "in_the_garden_renoir",
    "jeanne_hebuterne_modigliani",
    "portrait_delaunay",
    "rebel_angels_bruegel",
    "rue_mosnier_manet",
    "saint_john_el_greco",
    "street_pavers_boccioni",
    "sunday_afternoon_seurat",
    "two_women_malevich",
)

# What two of the stages of any.h5 share: colors, movement, photos that come a second time, grain.
COLORS = (
    "--size 160 --style-size 256 --batch 2 --style-layers relu1_1 --style-layers relu2_1 --style-layers relu3_1"
    " --style-layers relu4_1 --content-layers relu4_1 --grid-weight 3000 --photo-weight 30 --pan-weight 100"
    " --second-share 0.25 --grain 1.2 --frozen-norm --style-crops 1 --ema 0.98 --storage float16"
)

# What the last stages of both share: large forms, photos that come a second time, grain.
FORMS = (
    "--content-layers relu4_2 --style-layers relu1_1 --style-layers relu2_1 --style-layers relu3_1"
    " --style-layers relu4_1 --style-layers relu5_1 --grid-weight 3000 --second-share 0.25 --grain 1.2"
    " --storage float16"
)

# What those of any.h5 share besides.
CROPS = (
    "--size 192 --style-size 288 --batch 2 --palette-weight 9 --photo-weight 30 --frozen-norm --style-crops 1"
    " --ema 0.995"
)

# Of Song landscapes and textures, which have few colors, a third and a sixth.
FEWER_GRAYS = {"cn-": 3, "dtd-": 6}

# The grid loss came last, and put right what the stages before it had left. To train anew: it in all stages.
RECIPES: dict[str, tuple[Stage, ...]] = {
    "styles": (
        Stage(
            "train --mode cin --width 0.5 --size 224 --style-size 256 --batch 4 --steps 6000 --ema 0.999"
            " --grid-weight 0 --storage float16 --loss-net {vgg19}",
            SIXTEEN,
        ),
        Stage(
            "train --mode cin --start-from {before} --size 224 --style-size 320 --batch 2 --steps 1300 --lr 0.0005"
            " --lr-decay 0.1 --style-weight 15 --grid-weight 0 --ema 0.99 --storage float16 --loss-net {vgg19}",
            SIXTEEN,
        ),
        Stage(
            "train --mode cin --start-from {before} --size 192 --style-size 320 --batch 2 --steps 800 --lr 0.0005"
            " --lr-decay 0.05 --style-weight 15 --grid-weight 3000 --ema 0.99 --storage float16 --loss-net {vgg19}",
            SIXTEEN,
        ),
        Stage(
            f"train --mode cin --start-from {{before}} {FORMS} --size 176 --style-size 320 --batch 2 --steps 1000"
            " --lr 0.0008 --lr-decay 0.05 --style-weight 16 --palette-weight 6 --photo-weight 50 --pan-weight 100"
            " --ema 0.99 --loss-net {vgg19}",
            THIRTY_TWO,
        ),
        Stage(
            f"train --mode cin --start-from {{before}} {FORMS} --size 176 --style-size 320 --batch 2 --steps 2000"
            " --lr 0.0008 --lr-decay 0.05 --style-weight 18 --palette-weight 6 --photo-weight 50 --pan-weight 120"
            " --ema 0.995 --seed 7 --loss-net {vgg19}",
            THIRTY_TWO,
            share=0.5,
        ),
    ),
    "any": (
        Stage(
            "train --mode predict --width 0.5 --size 128 --batch 4 --steps 7000 --lr 0.0015 --lr-decay 0.3"
            " --style-weight 10 --photo-weight 30 --grid-weight 0 --ema 0.998 --loss-net builtin --backbone builtin"
        ),
        Stage(
            "train --mode predict --start-from {before} --size 192 --batch 2 --steps 450 --lr 0.0004 --lr-decay 0.1"
            " --style-weight 10 --photo-weight 30 --grid-weight 0 --ema 0.99 --storage float16 --loss-net {vgg19}"
        ),
        Stage(
            "train --mode predict --start-from {before} --size 224 --batch 4 --steps 9000 --lr 0.001 --lr-decay 0.05"
            " --style-weight 10 --photo-weight 30 --grid-weight 0 --ema 0.999 --storage float16 --loss-net {vgg19}"
        ),
        Stage(
            "train --mode predict --start-from {before} --size 192 --batch 2 --steps 1000 --lr 0.0005 --lr-decay 0.05"
            " --style-weight 10 --photo-weight 30 --grid-weight 3000 --ema 0.99 --storage float16 --loss-net {vgg19}",
            without=GRIDS,
        ),
        Stage(
            "train --mode predict --start-from {before} --size 224 --style-size 288 --batch 2 --steps 3600 --lr 0.0008"
            " --lr-decay 0.04 --style-weight 20 --photo-weight 30 --grid-weight 3000 --ema 0.998 --storage float16"
            " --loss-net {vgg19}",
            without=GRIDS,
        ),
        Stage(
            f"train --mode predict --start-from {{before}} {COLORS} --steps 200 --lr 0.0009 --lr-decay 0.55"
            " --style-weight 16 --palette-weight 2.5 --loss-net {vgg19}",
            without=GRIDS,
            thinned={"dtd-": 3},
        ),
        Stage(
            f"train --mode predict --start-from {{before}} {COLORS} --steps 400 --lr 0.0006 --lr-decay 0.1"
            " --style-weight 18 --palette-weight 6 --seed 1 --loss-net {vgg19}",
            without=GRIDS,
            thinned=FEWER_GRAYS,
        ),
        Stage(
            f"train --mode predict --start-from {{before}} {FORMS} {CROPS} --steps 302 --lr 0.0008 --lr-decay 0.42"
            " --style-weight 18 --pan-weight 150 --loss-net {vgg19}",
            without=GRIDS,
            thinned=FEWER_GRAYS,
            share=0.5,
        ),
        Stage(
            f"train --mode predict --start-from {{before}} {FORMS} {CROPS} --steps 1200 --lr 0.0008 --lr-decay 0.05"
            " --style-weight 18 --pan-weight 220 --seed 3 --loss-net {vgg19}",
            without=GRIDS,
            thinned=FEWER_GRAYS,
            share=0.75,
        ),
        Stage(
            f"train --mode predict --start-from {{before}} {FORMS} {CROPS} --steps 2000 --lr 0.0008 --lr-decay 0.05"
            " --style-weight 16 --pan-weight 260 --seed 4 --loss-net {vgg19}",
            without=GRIDS,
            thinned=FEWER_GRAYS,
        ),
        Stage(
            f"train --mode predict --start-from {{before}} {FORMS} {CROPS} --steps 2000 --lr 0.0008 --lr-decay 0.05"
            " --style-weight 18 --pan-weight 260 --seed 5 --loss-net {vgg19}",
            without=GRIDS,
            thinned=FEWER_GRAYS,
            share=0.6,
        ),
    ),
}


def commands(model: str, photos: Path, paintings: Path, vgg19: Path, output: Path) -> list[list[str]]:
    """The words after `nanostyle` of each command that trains `model`; the last one writes `output`.

    Raises
    ------
    NanostyleError
        A painting of the recipe is not in the folder.
    """
    there, lines, before = style_files([paintings]), [], Path()
    for i, stage in enumerate(RECIPES[model], start=1):
        if missing := [name for name in stage.paintings if name not in there]:
            raise NanostyleError(f"{paintings}: expected a picture {missing[0]}, found {', '.join(there)}; add it")
        target = output if i == len(RECIPES[model]) else output.with_stem(f"{output.stem}-{i}")
        words = [word.format(before=before, vgg19=vgg19) for word in stage.command.split()]
        for name in stage.takes(list(there)):
            words += ["--styles", str(there[name])]
        lines.append([*words, "--content", str(photos), "--license", LICENSES[model], "--resume", "-o", str(target)])
        before = target
    return lines


def average(model: Path, before: Path, share: float) -> None:
    """Make each parameter of `model` a mean of it, in that share, and of the one in `before`.

    Raises
    ------
    NanostyleError
        Their styles are not the same, or stand in another order.
    """
    trained, start = (load_weights(path, ("predictor", "transformer")) for path in (model, before))
    if trained.config.get("styles") != start.config.get("styles"):
        raise NanostyleError(f"{model}: expected the styles of {before}, in their order, for a mean of both")
    means = {name: share * value + (1 - share) * start.parameters[name] for name, value in trained.parameters.items()}
    save_weights(model, replace(trained, parameters=means), storage=trained.config["storage"])


def publish(model: Path, folder: Path = HERE) -> None:
    """Put `model` into `weights/builtin`, and its checksum into `SHA256SUMS`."""
    with replacing(folder / "builtin" / model.name) as temporary:
        shutil.copyfile(model, temporary)
    with replacing(folder / "SHA256SUMS") as temporary:
        files = sorted((folder / "builtin").glob("*.h5"))
        temporary.write_text("".join(f"{sha256(file)}  builtin/{file.name}\n" for file in files))


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one of the models and publish it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--paintings", type=Path, required=True)
    parser.add_argument("--vgg19", type=Path, required=True, help="as `nanostyle weights convert` writes it")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="where the training keeps its state")
    parser.add_argument("--device", default="auto", help="as of `nanostyle train`, and so is --precision")
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    output = given.work / f"{given.model}.h5"
    before, lines = output, commands(given.model, given.photos, given.paintings, given.vgg19, output)
    for words, stage in zip(lines, RECIPES[given.model], strict=True):
        nanostyle.main([*words, "--device", given.device, "--precision", given.precision], standalone_mode=False)
        if stage.share < 1:
            average(Path(words[-1]), before, stage.share)
        before = Path(words[-1])
    publish(output)


if __name__ == "__main__":
    main()
