"""The one error type of nanostyle's own, and what to do about an error."""

from typing import TypeVar

E = TypeVar("E", bound=BaseException)


class NanostyleError(Exception):
    """A request that cannot be met: one line with what was expected and what came, and a hint.

    Where a built-in type says it better (`ValueError`, `FileNotFoundError`, `OSError`), that one is raised, with
    `with_hint` if there is something to do about it.

    Parameters
    ----------
    text
        What was expected, and what came.
    hint
        What to do about it. Options stand in braces: "use a smaller {size}". The command line shows `--size` there, a
        traceback `size`.

    Examples
    --------
    >>> import nanostyle
    >>> try:
    ...     nanostyle.stylize("docs/pictures/photo.jpg", "no such style")
    ... except nanostyle.NanostyleError as error:
    ...     print(type(error).__name__)
    NanostyleError
    """

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}; {spelled(self.hint, '')}" if self.hint else text


def with_hint(error: E, hint: str) -> E:
    """`error`, of a built-in type, with a hint as `NanostyleError` has it."""
    error.hint = hint  # type: ignore[attr-defined]
    return error


def spelled(hint: str, before: str) -> str:
    """The hint with each option in braces spelled as a front end does: `before` and its name.

    >>> spelled("use a smaller {style_size}", "--")
    'use a smaller --style-size'
    """
    parts = hint.split("{")
    spelled = parts[:1]
    for part in parts[1:]:
        option, _, rest = part.partition("}")
        spelled.append(before + (option.replace("_", "-") if before else option) + rest)
    return "".join(spelled)


def quoted(name: str) -> str:
    """A name read from a file that nobody vouches for, fit for one line of an error."""
    return repr(name[:80]) + "…" * (len(name) > 80)
