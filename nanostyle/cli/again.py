"""`stylize --from`: the options and files of an earlier result, from its recipe."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from nanostyle import __version__
from nanostyle.errors import NanostyleError, with_hint
from nanostyle.io.atomic import sha256
from nanostyle.io.image_read import Picture
from nanostyle.io.picture_rows import RowPicture
from nanostyle.io.recipe import read_recipe
from nanostyle.methods.gatys_options import GatysOptions
from nanostyle.methods.request import StylizeOptions
from nanostyle.methods.stylizer import Stylizer
from nanostyle.models.registry import FILES, places

# What a recipe may set; files are looked for, and where to compute is this machine's own affair.
_FILES = {"masks", "loss_net"}
_OPTIONS = (
    {field.name for options in (StylizeOptions, GatysOptions) for field in dataclasses.fields(options)}
    - {"gatys", "device", "precision", "threads", "chosen", *_FILES}
) | {"quality", "strip"}

_SEVERAL = " + "  # between two methods, or two models
# What of a recipe is compared, and what to call it.
_FACTS = {"styles": "painting", "masks": "mask", "model": "model", "loss_net": "loss network"}


class Again:
    """An earlier result, whose recipe is followed.

    Parameters
    ----------
    result
        The picture.

    Raises
    ------
    OSError, ValueError
        It cannot be read, or holds no recipe of `stylize`.
    """

    def __init__(self, result: Path) -> None:
        self.result = result
        recipe = read_recipe(result)
        if recipe is None or not isinstance(recipe.get("method"), str):
            raise ValueError(f"{result} has no recipe: it is no result of nanostyle, or its recipe was removed")
        self.recipe = recipe
        self.photo: Path | None = None

    def defaults(self, command: click.Command) -> dict[str, Any]:
        """The options of `command` that the recipe tells, by name: they hold where none is given.

        Raises
        ------
        ValueError
            A value is of a kind that no option has.
        """
        found = {}
        for option in command.params:
            value = self.recipe.get(option.name or "")
            if option.name not in _OPTIONS or value is None or (option.name == "method" and _SEVERAL in str(value)):
                continue
            items = value if isinstance(value, list) else [value]
            if isinstance(value, list) != option.multiple or not all(
                isinstance(item, str | int | float) for item in items
            ):
                raise ValueError(f"{self.result}: its recipe is damaged ({option.name}: {value!r:.80})")
            found[option.name] = value
        return found

    @property
    def suffix(self) -> str:
        """That of the result: others like it have the same."""
        return self.result.suffix

    # --- files ------------------------------------------------------------------------------------------------------

    def completed(
        self,
        photos: tuple[Path, ...],
        paintings: tuple[Path, ...],
        styles: tuple[str, ...],
        model: Path | None,
        values: dict[str, Any],
    ) -> tuple[tuple[Path, ...], tuple[Path, ...], tuple[str, ...], Path | None]:
        """Photos, paintings, styles and model: those given, else the recipe's; so for masks and network in `values`.

        Raises
        ------
        FileNotFoundError
            A file of the recipe is not here any more; it says what to give.
        NanostyleError
            A file of that name is there, with other contents.
        """
        photos = photos or (self._photo(),)
        if not (paintings or styles):
            paintings, styles = self._styles()
        values["masks"] = values["masks"] or self._masks()
        # Where two built-in models painted together, none is named.
        if values["method"] == self.recipe["method"] and _SEVERAL not in self.recipe["method"]:
            model = model or self._network("model")
            values["loss_net"] = values["loss_net"] or self._network("loss_net")
        return photos, paintings, styles, model

    def _photo(self) -> Path:
        """The photo of the result."""
        give = f"name the photo: nanostyle stylize {{from}} {self.result} PHOTO"
        self.photo = self._find("photo", self._text("photo"), self._text("photo_sha256"), give)
        return self.photo

    def _styles(self) -> tuple[tuple[Path, ...], tuple[str, ...]]:
        """The paintings of the result, or its styles of a model and files of saved ones."""
        names, digests = self._texts("styles")
        give = (
            "give the right ones, in their order: {style_image} FILE"
            if len(names) > 1
            else "give it: {style_image} FILE"
        )
        paintings, styles = [], []
        for name, digest in zip(names, digests, strict=True):
            if name.lower().endswith(".h5"):
                styles.append(str(self._find("style", name, digest, give.replace("style_image", "style"))))
            elif digest or not name:
                paintings.append(self._find("painting", name, digest, give))
            else:
                styles.append(name)
        return tuple(paintings), tuple(styles)

    def _masks(self) -> tuple[Path, ...]:
        """The masks of the result."""
        give = "give all masks, in their order: {mask} FILE"
        return tuple(self._find("mask", *pair, give) for pair in zip(*self._texts("masks"), strict=True))

    def _network(self, option: str) -> Path | None:
        """The trained model (`model`) or the loss network (`loss_net`) of the result; None where it has none."""
        name = self._text(option)
        what = option.replace("_", " ").replace("net", "network")
        return self._find(what, name, self._text(f"{option}_sha256"), f"give it: {{{option}}} FILE") if name else None

    def _find(self, what: str, name: str, digest: str, give: str) -> Path:
        """The file of the recipe's `name` whose contents are those of then."""
        if not name:
            raise NanostyleError(f"{self.result} does not say from which file its {what} came", hint=give)
        here = [path for path in self._candidates(name) if path.is_file()]
        for path in here:
            if not digest or sha256(path) == digest:
                return path
        if here:
            text = f"{here[0]} is another {what} than that of {self.result}: its SHA-256 is not {digest[:12]}…"
            raise NanostyleError(text, hint=f"{give} (or this one, to use it all the same)")
        error = FileNotFoundError(f"the {what} of {self.result} is not here any more: there is no {name}")
        raise with_hint(error, give)

    def _candidates(self, name: str) -> list[Path]:
        """Where a file of the recipe may be: as it was given, beside the result or the photo, among the networks."""
        path = Path(name)
        if path.is_absolute() or path.drive or ".." in path.parts:  # a recipe leads nowhere else
            path = Path(path.name)
        folders = [Path(), self.result.parent, *([self.photo.parent] if self.photo else [])]
        found = [folder / part for part in (path, Path(path.name)) for folder in folders]
        known = next((known for known, file in FILES.items() if file == path.name), None)
        return [*found, *(places(known) if known else [])]

    def _text(self, key: str) -> str:
        value = self.recipe.get(key, "")
        return value if isinstance(value, str) and "\0" not in value else ""

    def _texts(self, key: str) -> tuple[list[str], list[str]]:
        """A list of names, and one of their digests; these are empty in a recipe that has none."""
        names, digests = (self.recipe.get(each, []) for each in (key, f"{key}_sha256"))
        names = names if isinstance(names, list) else []
        digests = digests if isinstance(digests, list) and len(digests) == len(names) else [""] * len(names)
        if not all(isinstance(item, str) and "\0" not in item for item in [*names, *digests]):
            raise ValueError(f"{self.result}: its recipe is damaged ({key}: {names!r:.80})")
        return names, digests

    # --- what is another --------------------------------------------------------------------------------------------

    def compare(self, stylizer: Stylizer, photos: Sequence[Path], photo: Picture | None) -> list[str]:
        """What of a stylizer, its only photo and this program is another than it was for the result, in words.

        What is the same gets the names of then, wherever it is now: so a result repeated is the same to the byte.
        """
        found = []
        for key, what in _FACTS.items():
            then, now = self.recipe.get(f"{key}_sha256"), stylizer.facts.get(f"{key}_sha256")
            if then and then == now:
                stylizer.facts[key] = self.recipe[key]
            elif then and now:
                found.append(f"the {what} is another than that of {self.result}")
        same_name = len(photos) == 1 and photos[0].name == Path(self._text("photo")).name
        if same_name and photo is not None and self._text("photo_sha256") not in ("", photo.sha256):
            found.append(f"the photo is another than that of {self.result}")
        device = stylizer.device
        here = {"nanostyle": __version__, "device": device.name, "precision": device.precision}
        for key, value in here.items():
            then = self.recipe.get(key, value)
            if then != value:
                found.append(f"{self.result} was made with {key} {then!s:.40}, this is {value}: bytes may differ")
        return found

    def photo_name(self, photo: Picture | RowPicture) -> str:
        """What the recipe calls a photo, if it is the result's."""
        return self._text("photo") if photo.sha256 and photo.sha256 == self._text("photo_sha256") else ""


def follow(context: click.Context, option: click.Parameter, result: Path | None) -> Again | None:
    """Read the recipe of `--from`; its options are the defaults of all others."""
    if result is None or context.resilient_parsing:
        return None
    again = Again(result)
    context.default_map = again.defaults(context.command)
    return again
