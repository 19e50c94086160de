"""What was derived from arrays of a GPU that nothing writes to, kept as long as they are.

So the weights of a trained network are laid out for the products of matrices once, and not at every pass.
"""

import weakref
from collections.abc import Callable
from typing import Any

from nanostyle.backend.gpu.graph import recording
from nanostyle.backend.types import Array

# By the identity of the array; an entry goes when its array does, before another one can have the number.
_derived: dict[int, dict[Any, Array]] = {}


def settle(x: Array) -> None:
    """Nothing will write to `x` from now on. Arrays of CuPy have no flag that says so."""
    _derived[id(x)] = {}
    weakref.finalize(x, _derived.pop, id(x), None).atexit = False


def derived(x: Array, make: Callable[[], Array], *key: Any) -> Array:
    """`make()`; from an array that is settled it is made once for each `key`.

    While work is recorded nothing is kept that was not there before: its memory would be the recording's, and it is
    not computed yet.
    """
    known = _derived.get(id(x))
    if known is not None and key in known:
        return known[key]
    made = make()
    if known is not None and not recording():
        known[key] = made
    return made
