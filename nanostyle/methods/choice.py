"""Which method a stylization is made by, and which network paints each of its styles."""

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

from nanostyle.backend.device import Device
from nanostyle.errors import NanostyleError
from nanostyle.methods.request import OF_GATYS, OF_TRAINED, StylizeOptions
from nanostyle.models.base import TrainedModel
from nanostyle.models.load import load_model
from nanostyle.models.registry import TRAINED, built_in, find

Model: TypeAlias = str | os.PathLike[str] | TrainedModel[Any]
Models: TypeAlias = Model | Sequence[TrainedModel[Any]] | None
"""A trained model, or a list of one for each style; None: built-in ones that fit."""


def networks_for(
    kinds: Sequence[str], model: Models, options: StylizeOptions, device: Device
) -> list[TrainedModel[Any]]:
    """The network of each style, by the ways in which they are given (`kind_of`); none for Gatys' method.

    Raises
    ------
    NanostyleError
        Styles, model and options do not fit together.
    FileNotFoundError, OSError, ValueError
        A model cannot be read.
    """
    if isinstance(model, Sequence) and not isinstance(model, str):
        return list(model)
    others = [kind for kind in kinds if kind != "name"]
    if model is not None or not others or len(others) == len(kinds):
        network = _choose(kinds, model, options, device)
        return [network] * max(1, len(kinds)) if network else []
    named, painted = (_choose(some, None, options, device) for some in (["name"], others))
    if named is None or painted is None:
        raise NanostyleError("method gatys takes paintings", hint="leave out {style}")
    return [named if kind == "name" else painted for kind in kinds]


def _choose(
    kinds: Sequence[str], model: Model | None, options: StylizeOptions, device: Device
) -> TrainedModel[Any] | None:
    """The trained model to use, None for Gatys' method; `auto` goes by the styles, the options and the model."""
    wish = options.method
    painted = bool(kinds) and set(kinds) == {"painting"}
    chosen = options.chosen_names() | ({"model"} if model is not None and options.chosen is None else set())
    if wish == "auto" and painted and model is None and chosen & OF_GATYS:
        wish = "gatys"
    _refuse_foreign(wish, chosen)
    default = "any" if "painting" in kinds or "saved" in kinds else "styles"
    if wish == "gatys" or (wish == "auto" and painted and model is None and built_in(default) is None):
        if not painted:
            raise NanostyleError("method gatys takes paintings", hint="name one with {style_image}")
        return None
    if wish in ("cin", "feedforward") and painted and model is None:
        raise NanostyleError(f"method {wish} needs a model that knows the painting", hint="name one with {model}")
    # With no file of that name `find` says where it was looked for.
    found = model if isinstance(model, TrainedModel) else load_model(find(model or default, TRAINED), device=device)
    if wish not in ("auto", found.kind):
        raise NanostyleError(f"method {wish}: {called(found)} is a model of method {found.kind}")
    return found


def _refuse_foreign(wish: str, chosen: frozenset[str]) -> None:
    """Refuse an option that was chosen and that the method does not have."""
    if wish == "gatys" and (foreign := sorted(chosen & OF_TRAINED)):
        raise NanostyleError(
            f"{foreign[0]} is for trained models, not for method gatys", hint=f"leave out {{{foreign[0]}}}"
        )
    if wish != "gatys" and (foreign := sorted(chosen & OF_GATYS)):
        raise NanostyleError(
            f"{foreign[0]} is an option of method gatys",
            hint=f"leave out {{{foreign[0]}}}, or use {{method}} gatys",
        )


def called(model: TrainedModel[Any]) -> str:
    """What a message calls a model."""
    return str(model.path or f"this model of method {model.kind}")
