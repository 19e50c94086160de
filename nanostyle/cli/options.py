"""The options that commands share, and options from a dataclass: a name, a type, a default written once."""

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import click

from nanostyle.errors import spelled

D = TypeVar("D")
Command = TypeVar("Command", bound=Callable[..., Any])


def options_of(options: type[Any], *, leave_out: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Add an option to a click command for every field of the dataclass `options`, in its order.

    `style_weight: float = 20` becomes `--style-weight FLOAT`, a `tuple[str, ...]` an option that may be repeated, a
    `bool` a pair `--x/--no-x`. The field's metadata may hold `help` and `choices`.
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
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what exists.")


def _names(field: Any, hints: dict[str, Any]) -> tuple[str, ...]:
    flag = "--" + field.name.replace("_", "-")
    if _plain(hints[field.name]) is bool:
        flag = f"{flag}/--no-{flag[2:]}"
    return (flag, field.name)


def _settings(field: Any, hint: Any) -> dict[str, Any]:
    default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
    kind = _plain(hint)
    settings: dict[str, Any] = {
        "default": default,
        "help": spelled(field.metadata.get("help", ""), "--"),
        "show_default": default not in (None, (), ""),
    }
    if "choices" in field.metadata:
        settings["type"] = click.Choice(field.metadata["choices"])
    elif typing.get_origin(kind) is tuple:
        settings["type"], settings["multiple"] = typing.get_args(kind)[0], True
    elif kind is not bool:
        settings["type"] = kind
    if "metavar" in field.metadata:
        settings["metavar"] = field.metadata["metavar"]
    return settings


def _plain(hint: Any) -> Any:
    """The type behind `X | None`."""
    if isinstance(hint, types.UnionType):
        return next(t for t in typing.get_args(hint) if t is not type(None))
    return hint
