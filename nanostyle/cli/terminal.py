"""Progress bars, and errors on one line."""

import shutil
import sys
import time
import traceback
from typing import NoReturn
from unicodedata import category

import click

from nanostyle.backend.comm.launch import RanksLost
from nanostyle.errors import NanostyleError, spelled

USER_ERRORS = (NanostyleError, ValueError, OSError)
_BAR = 24
_CONTROLS = ("Cc", "Zl", "Zp")  # Unicode's categories of control characters and of ends of lines


class ProgressBar:
    """A line on stderr that is drawn again at every step: bar, steps, time left, and what the loop has to say.

    On a terminal the line is redrawn in place, at most ten times a second; elsewhere a new one is written whenever
    another tenth of the work is done. Nothing is written where `quiet`. Steps may be parts of whole ones.
    """

    def __init__(self, label: str, *, quiet: bool = False) -> None:
        self.label, self.quiet = printable(label), quiet
        self._start = time.monotonic()
        self._first: tuple[float, float] | None = None  # when the first steps were told, and how many: a run may go on
        self._drawn = -1.0
        self._tenth = -1
        self._live = sys.stderr.isatty()
        self._width = 0

    def show(self, done: float, total: int | None, note: str = "") -> None:
        """`done` of `total` steps are finished; `note` is what else there is to say."""
        if self.quiet:
            return
        now = time.monotonic()
        self._first = self._first or (now, done)
        finished = total is not None and done >= total
        if self._live:
            if not finished and now - self._drawn < 0.1:
                return
            self._drawn = now
            # A line longer than the terminal would wrap, and the next one would not cover it.
            line = self._line(done, total, now, note)[: shutil.get_terminal_size().columns - 1]
            click.echo("\r" + line.ljust(self._width), nl=False, err=True)
            self._width = len(line)
        elif total and int(done * 10 / total) > self._tenth:
            self._tenth = int(done * 10 / total)
            click.echo(self._line(done, total, now, note), err=True)

    def close(self) -> None:
        """End the line."""
        if not self.quiet and self._live and self._width:
            click.echo(err=True)
            self._width = 0

    def say(self, text: str) -> None:
        """Write a line of its own, above the bar."""
        if self.quiet:
            return
        if self._live and self._width:
            click.echo("\r" + " " * self._width + "\r", nl=False, err=True)
            self._width, self._drawn = 0, -1.0
        click.echo(printable(text), err=True)

    def _line(self, done: float, total: int | None, now: float, note: str) -> str:
        note = printable(note)
        if not total:
            return f"{self.label} {int(done)} {note}".rstrip()
        full = int(_BAR * done / total)
        since, begun = self._first or (now, done)
        if begun < done < total:
            left = f"{clock((now - since) / (done - begun) * (total - done))} left"
        else:
            left = clock(now - self._start)
        return f"{self.label} [{'#' * full}{'-' * (_BAR - full)}] {int(done)}/{total} {left}  {note}".rstrip()


def printable(text: str) -> str:
    """`text` on one line, without what a terminal obeys: names of files may hold either.

    >>> printable("a\nb\x1b[2J")
    'a\\nb\\x1b[2J'
    """
    return "".join(repr(c)[1:-1] if category(c) in _CONTROLS else c for c in text)


def clock(seconds: float) -> str:
    """A time as `m:ss` or `h:mm:ss`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def shares(terms: dict[str, float]) -> str:
    """The terms of a loss as shares of their sum: `content 45 %  style 55 %`."""
    total = sum(terms.values())
    return "  ".join(f"{name} {100 * value / total:.0f} %" for name, value in terms.items()) if total > 0 else ""


def one_line(error: BaseException) -> str:
    """What to tell a user of an error, on one line."""
    if isinstance(error, OSError) and error.strerror and len(error.args) > 1:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = Exception.__str__(error) or type(error).__name__
    hint = getattr(error, "hint", "")
    if hint:
        text = f"{text}; {spelled(hint, '--')}"
    return printable(" ".join(text.split()))


def explained(error: BaseException) -> str:
    """What to tell a user of an error of any kind, on one line."""
    if isinstance(error, MemoryError) and not hasattr(error, "hint"):
        return "not enough memory for this picture; use a smaller --size"
    known = isinstance(error, (*USER_ERRORS, MemoryError))
    return one_line(error) if known else f"internal fault: {type(error).__name__}: {one_line(error)}"


def fail(error: BaseException, *, debug: bool, silent: bool = False, speaker: str = "") -> NoReturn:
    """End the program: one line on stderr; exit status 2 for what the user can mend, 1 for what only we can.

    Where `silent`, another process tells of the error. The line begins with the `speaker`.
    """
    if isinstance(error, click.Abort) and error.__cause__ is not None:
        error = error.__cause__  # click puts Abort in place of what interrupted the command
    line, status = _told(error, debug=debug)
    if not silent:
        if debug:
            traceback.print_exception(error)
        click.echo(speaker + line, err=True)
    sys.exit(status)


def _told(error: BaseException, *, debug: bool) -> tuple[str, int]:
    """The line for an error, and the exit status."""
    if isinstance(error, click.ClickException):
        return f"Error: {printable(' '.join(error.format_message().split()))}", 2
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return f"Interrupted: {one_line(error)}" if str(error) else "Interrupted", 130
    known = isinstance(error, (*USER_ERRORS, MemoryError))
    hint = "" if known or debug else "; run again with --debug for the details"
    return f"Error: {explained(error)}{hint}", 2 if known and not isinstance(error, RanksLost) else 1
