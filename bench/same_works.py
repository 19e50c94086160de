"""What `same.py` compares: the commands, what they work on, and the differences that are meant."""

import json
import shutil
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

# Differences that are meant, as patterns of "work: file: part", each with its reason.
EXPECTED: dict[str, str] = {}

GATYS = "stylize docs/photo.jpg --style-image docs/painting.jpg --method gatys --iterations 20"
ANY = "stylize docs/photo.jpg --style-image docs/painting.jpg --size 200"
STYLES = "stylize docs/photo.jpg --size 200"
TWO_STYLES = "--styles docs/painting.jpg --styles docs/gallery.jpg"
TRAIN = "--content photos --width 0.1 --size 64 --batch 2 --preview-every 10 --checkpoint-every 10"
FINE = "--size 64 --batch 2 --preview-every 10 --checkpoint-every 10 --content photos"
CIN = f"train --mode cin {TWO_STYLES} {TRAIN} --ema 0.9 --weight gallery=2"
PREDICT = f"train --mode predict {TWO_STYLES} {TRAIN}"
CONV = f"{PREDICT} --backbone conv --ema 0.9"
ONE = f"train --mode feedforward --styles docs/painting.jpg {TRAIN}"
BATCH = f"{ONE} --norm batch --upsample fractional"
ADD = f"add-style many.h5 made/art.png {FINE}"


@dataclass(frozen=True)
class Work:
    """One command, run by both trees; the commands run in order, so later ones may read what earlier ones wrote.

    Attributes
    ----------
    command : str
        The arguments of nanostyle.
    status : int
        The exit status that both must have.
    old_only : bool
        OLD runs it alone, and NEW gets a copy of what it wrote: to go on with.
    """

    name: str
    command: str
    status: int = 0
    old_only: bool = False


WORKS = (
    Work("any", f"{ANY} -o any.png"),
    Work("any, whole size, jpeg", "stylize docs/photo.jpg --style-image docs/painting.jpg -o any.jpg"),
    Work("any, strength", f"{ANY} --strength 0.5 -o any-half.png"),
    Work("any, blend", f"{ANY} --style-image docs/gallery.jpg --weight 3 --weight 1 -o any-blend.png"),
    Work("any, mask", f"{ANY} --mask docs/mask.png -o any-mask.png"),
    Work(
        "any, two masks", f"{ANY} --style-image made/art.png --mask docs/mask.png --mask made/mask.png -o any-masks.png"
    ),
    Work("any, colors", f"{ANY} --colors content -o any-colors.png"),
    Work("any, larger", f"{ANY} --size 500 -o any-large.png"),
    Work("any, save style", f"{ANY} -o any-saved.png --save-style style.h5"),
    Work("any, saved style", f"{STYLES} --style style.h5 --strength 0.6 -o any-again.png"),
    Work("any, folder", "stylize photos --style-image docs/painting.jpg -o any-folder"),
    Work("any, alpha, turned, gray", "stylize made/kinds --style-image docs/painting.jpg -o any-kinds"),
    Work("styles, list", "styles"),
    Work("styles", f"{STYLES} --style starry_night_van_gogh -o styles.png"),
    Work("styles, strength", f"{STYLES} --style scream_munch --strength 0.5 -o styles-half.png"),
    Work(
        "styles, blend",
        f"{STYLES} --style scream_munch --style water_lilies_monet --weight 1 --weight 2 --strength 0.8"
        " --colors content -o styles-blend.png",
    ),
    Work(
        "styles, masks",
        f"{STYLES} --style udnie_picabia --style great_wave_hokusai --mask docs/photo.jpg --mask docs/mask.png"
        " -o styles-masks.png",
    ),
    Work("styles, sheet", "styles --sheet docs/photo.jpg --size 96 -o sheet.png"),
    Work("gatys", f"{GATYS} --size 144 -o gatys.png"),
    Work("gatys, mask", f"{GATYS} --size 128 --mask docs/mask.png -o gatys-mask.png"),
    Work(
        "gatys, two masks",
        f"{GATYS} --size 128 --style-image made/art.png --mask docs/mask.png --mask made/mask.png -o gatys-masks.png",
    ),
    Work(
        "gatys, weights, colors",
        f"{GATYS} --size 128 --style-image made/art.png --weight 3 --weight 1 --colors content -o gatys-two.png",
    ),
    Work("gatys, pyramid", f"{GATYS} --size 160 --pyramid --style-scale 0.5 -o gatys-pyramid.png"),
    Work("gatys, adam", f"{GATYS} --size 128 --optimizer adam --init noise --seed 3 -o gatys-adam.png"),
    Work(
        "gatys, paper",
        f"{GATYS} --size 128 --loss-scale paper --pooling avg --padding zero --content-layers relu3_1"
        " --style-layers relu1_1=2 --style-layers relu2_1 --style-weight 0.01 --tv-weight 0 -o gatys-paper.png",
    ),
    Work("train one", f"{ONE} --steps 20 -o one.h5"),
    Work("train one, batch norm, fractional", f"{BATCH} --steps 20 --tv-weight 0.1 -o batch.h5"),
    Work("train one, fractional, uint8", f"{ONE} --upsample fractional --steps 20 --storage uint8 -o fractional.h5"),
    Work("one", f"{STYLES} --model one.h5 --strength 0.5 -o one.png"),
    Work("one, batch norm", f"{STYLES} --model batch.h5 -o batch.png"),
    Work("one, fractional", f"{STYLES} --model fractional.h5 -o fractional.png"),
    Work("train many, running average", f"{CIN} --steps 20 -o many.h5"),
    Work("many", f"{STYLES} --model many.h5 --style painting --style gallery --strength 0.7 -o many.png"),
    Work("many, sheet", "styles many.h5 --sheet docs/photo.jpg --size 96 -o many-sheet.png"),
    Work(
        "train many, from a model",
        f"train --mode cin --styles made/art.png {FINE} --start-from many.h5 --steps 20 --storage float16 -o from.h5",
    ),
    Work("add style", f"{ADD} --steps 20 -o more.h5"),
    Work("more, added style", f"{STYLES} --model more.h5 --style art --strength 0.5 -o more.png"),
    Work("train any, loss network as backbone", f"{PREDICT} --steps 20 -o builtin.h5"),
    Work("train any, conv backbone, running average", f"{CONV} --steps 20 -o conv.h5"),
    Work("train any, finetune", f"{PREDICT} --finetune --seed 5 --photo-share 0.4 --steps 20 -o finetune.h5"),
    Work(
        "train any, from a model",
        f"train --mode predict --styles made/art.png {FINE} --start-from conv.h5 --steps 20 -o mine.h5",
    ),
    Work("trained any", f"{ANY} --model builtin.h5 -o trained-any.png --save-style trained-style.h5"),
    Work("trained any, conv", f"{ANY} --model conv.h5 --strength 0.5 -o trained-conv.png"),
    Work("stop one at 10 of 20", f"{BATCH} --steps 10 -o one-r.h5", old_only=True),
    Work("resume one", f"{BATCH} --steps 20 --resume -o one-r.h5"),
    Work("stop many at 10 of 20", f"{CIN} --steps 10 -o many-r.h5", old_only=True),
    Work("resume many", f"{CIN} --steps 20 --resume -o many-r.h5"),
    Work("stop any at 10 of 20", f"{CONV} --finetune --steps 10 -o any-r.h5", old_only=True),
    Work("resume any", f"{CONV} --finetune --steps 20 --resume -o any-r.h5"),
    Work("stop add style at 10 of 20", f"{ADD} --steps 10 -o more-r.h5", old_only=True),
    Work("resume add style", f"{ADD} --steps 20 --resume -o more-r.h5"),
    Work("style map", "style-map docs/painting.jpg docs/gallery.jpg docs/photo.jpg made/art.png -o map.png"),
    Work("style map of a model", "style-map --model styles -o map-styles.png"),
    Work(
        "evaluate many",
        "evaluate many.h5 --content photos --styles docs/painting.jpg --photos 2 --size 64 --iterations 4"
        " --json many.json",
    ),
    Work(
        "evaluate any",
        "evaluate any --content photos --styles docs/painting.jpg --photos 2 --size 64 --iterations 0 --json any.json",
    ),
    Work("convert npz", "weights convert --preprocess torch --pooling avg made/vgg.npz npz.h5"),
    Work("convert safetensors", "weights convert --storage float16 made/vgg.safetensors safetensors.h5"),
    Work("convert keras", "weights convert --storage uint8 --padding reflect made/keras.h5 keras.h5"),
    Work(
        "converted loss network",
        f"{GATYS} --size 64 --iterations 4 --loss-net npz.h5 --content-layers relu2_1 --style-layers relu1_1"
        " -o gatys-npz.png",
    ),
    Work("info", "weights info safetensors.h5"),
    Work("info of a model", "weights info many.h5"),
    Work("no such photo", "stylize none.jpg --style-image docs/painting.jpg -o none.png", status=2),
    Work("nothing replaced", f"{ANY} -o any.png", status=2),
    Work("a mask too many", f"{ANY} --mask docs/mask.png --mask made/mask.png -o none.png", status=2),
)


def make_inputs(tree: Path, place: Path) -> None:
    """Pictures from the docs of `tree`, and made ones: photos, a painting, a mask, other kinds, foreign weights."""
    for folder in ("docs", "photos", "made/kinds"):
        (place / folder).mkdir(parents=True)
    for name in ("photo.jpg", "painting.jpg", "gallery.jpg", "mask.png"):
        source = next((tree / "docs").rglob(name), None)
        if source is None:
            sys.exit(f"{tree}: expected docs/{name}, found none")
        shutil.copy(source, place / "docs" / name)
    rng = np.random.default_rng(0)
    for i in range(8):
        made_picture(rng, 72 + 4 * i, 100).save(place / f"photos/{i}.png")
    made_picture(rng, 90, 80).save(place / "made/art.png")
    Image.fromarray(np.tile(np.linspace(0, 255, 120).astype(np.uint8), (80, 1))).save(place / "made/mask.png")
    alpha = made_picture(rng, 60, 80)
    alpha.putalpha(alpha.convert("L"))
    alpha.save(place / "made/kinds/alpha.png")
    made_picture(rng, 61, 83).convert("L").save(place / "made/kinds/gray.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: a quarter turn
    made_picture(rng, 62, 84).save(place / "made/kinds/turned.jpg", exif=exif)
    made_picture(rng, 63, 85).save(place / "made/kinds/web.webp")
    make_vgg(rng, place / "made")


def made_picture(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """Soft waves of color with some noise."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(6.3 * (a * x + b * y + c)) for a, b, c in rng.random((3, 3)) * 4]
    pixels = 0.5 + 0.35 * np.stack(waves, axis=2) + 0.2 * (rng.random((height, width, 3)) - 0.5)
    return Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8))


def make_vgg(rng: np.random.Generator, folder: Path) -> None:
    """The first three convolutions of VGG with random weights, as NumPy, safetensors and Keras have them."""
    shapes = {(1, 1): (3, 64), (1, 2): (64, 64), (2, 1): (64, 128)}
    kernels = {
        key: (rng.standard_normal((3, 3, *shape)) * (2 / (9 * shape[0])) ** 0.5).astype(np.float32)
        for key, shape in shapes.items()
    }
    biases = {key: (0.1 * rng.standard_normal(shape[1])).astype(np.float32) for key, shape in shapes.items()}
    named = {f"conv{b}_{n}/weight": kernels[b, n] for b, n in shapes} | {
        f"conv{b}_{n}/bias": biases[b, n] for b, n in shapes
    }
    np.savez(folder / "vgg.npz", **named)
    with h5py.File(folder / "keras.h5", "w") as file:
        for b, n in shapes:
            file[f"block{b}_conv{n}/block{b}_conv{n}/kernel:0"] = kernels[b, n]
            file[f"block{b}_conv{n}/block{b}_conv{n}/bias:0"] = biases[b, n]
    torch = {}
    for index, key in zip((0, 2, 5), shapes, strict=True):
        torch[f"features.{index}.weight"] = np.ascontiguousarray(kernels[key].transpose(3, 2, 0, 1))
        torch[f"features.{index}.bias"] = biases[key]
    header, end = {}, 0
    for name, array in torch.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    data = struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in torch.values())
    (folder / "vgg.safetensors").write_bytes(data)
