"""The options that commands share, and options from a dataclass: a name, a type, a default written once."""

import dataclasses
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nanostyle.errors import spelled
from nanostyle.methods.request import allowed


class _Name(click.Path):
    """The name of a file or folder. An empty one would mean the current folder, and all photos in it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            text = "expected the name of a file or folder, got an empty one; is a variable of your shell not set?"
            self.fail(text, param, ctx)
        return super().convert(value, param, ctx)


PATH = _Name(path_type=Path)
"""The type of every argument and option that names a file or folder."""

D = TypeVar("D")
Command = TypeVar("Command", bound=Callable[..., Any])


def options_of(options: type[Any], *, leave_out: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Add an option to a click command for every field of the dataclass `options`, in its order.

    `style_weight: float = 20` becomes `--style-weight FLOAT`, a `tuple[str, ...]` an option that may be repeated, a
    `bool` a pair `--x/--no-x`, a `Literal` a choice. The field's metadata may hold `help`, in which other options stand
    in braces, `choices`, `metavar`, `type`, `range` (lowest and highest, None for no bound) and `flag` (the option's
    name without dashes).
    """

    def add(command: Command) -> Command:
        hints = typing.get_type_hints(options)
        for field in reversed(dataclasses.fields(options)):
            if field.name not in leave_out:
                command = click.option(*_names(field, hints), **_settings(field, hints[field.name]))(command)
        return command

    return add


def take(options: type[D], values: dict[str, Any], **fixed: Any) -> D:
    """Move the values of the fields of `options` out of `values` and make an instance of them."""
    names = {field.name for field in dataclasses.fields(options)}  # type: ignore[arg-type]
    return options(**{name: values.pop(name) for name in names & values.keys()}, **fixed)


debug_option = click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
quiet_option = click.option("--quiet", is_flag=True, help="Write nothing but errors.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that exist.")
style_image_option = click.option(
    "--style-image",
    "style_images",
    metavar="ART",
    multiple=True,
    type=PATH,
    help="A painting. Repeat it to blend several.",
)
model_option = click.option("--model", metavar="FILE", type=PATH, help="A trained model. Default: built in.")


def _names(field: Any, hints: dict[str, Any]) -> tuple[str, ...]:
    flag = "--" + field.metadata.get("flag", field.name).replace("_", "-")
    if _plain(hints[field.name]) is bool:
        flag = f"{flag}/--no-{flag[2:]}"
    return (flag, field.name)


def _settings(field: Any, hint: Any) -> dict[str, Any]:
    default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
    settings: dict[str, Any] = {
        "default": default,
        "help": spelled(field.metadata.get("help", ""), "--"),
        "show_default": default not in (None, (), ""),
    }
    kind = _plain(hint)
    if typing.get_origin(kind) is tuple:
        settings["multiple"] = True
        kind = typing.get_args(kind)[0]
    if (type_of := _type(field, kind, hint)) is not None:
        settings["type"] = type_of
    if "metavar" in field.metadata:
        settings["metavar"] = field.metadata["metavar"]
    return settings


def _type(field: Any, kind: Any, hint: Any) -> Any:
    """The click type of a field; None for a bool, which is a pair of flags."""
    if words := field.metadata.get("choices") or allowed(hint):
        return click.Choice(words)
    kind = field.metadata.get("type", kind)
    if "range" in field.metadata:
        low, high = field.metadata["range"]
        return click.IntRange(low, high) if kind is int else click.FloatRange(low, high)
    if kind is Path:
        return PATH
    return None if kind is bool else kind


def _plain(hint: Any) -> Any:
    """The type behind `X | None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return next(t for t in typing.get_args(hint) if t is not type(None))
    return hint
