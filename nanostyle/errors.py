"""The one error type of nanostyle's own."""


class NanostyleError(Exception):
    """A request that cannot be met: one line with what was expected, what came, and what to do.

    Where a built-in type says it better (`ValueError`, `FileNotFoundError`, `OSError`), that one is raised.
    """


def quoted(name: str) -> str:
    """A name read from a file that nobody vouches for, fit for one line of an error."""
    return repr(name[:80]) + "…" * (len(name) > 80)
