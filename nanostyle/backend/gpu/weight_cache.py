"""Cache of values computed from read-only GPU arrays: the packed weights of trained networks.

They are laid out for the matrix products once, and not at every pass.
"""

import weakref
from collections.abc import Callable, Hashable

from nanostyle.backend.gpu.graph import recording
from nanostyle.backend.types import Array

# By the identity of the array; an entry goes when its array does, before another one can have the number.
_caches: dict[int, dict[tuple[Hashable, ...], Array]] = {}


def mark_read_only(x: Array) -> None:
    """Declare that nothing will write to `x` from now on. Arrays of CuPy have no flag that says so."""
    _caches[id(x)] = {}
    weakref.finalize(x, _caches.pop, id(x), None).atexit = False


def cached(x: Array, make: Callable[[], Array], *key: Hashable) -> Array:
    """`make()`, a value computed from `x`. Of a read-only `x` it is made once for each `key`.

    While work is recorded nothing new is kept: its memory would be the recording's, and it is not computed yet.
    """
    known = _caches.get(id(x))
    if known is not None and key in known:
        return known[key]
    made = make()
    if known is not None and not recording():
        known[key] = made
    return made
