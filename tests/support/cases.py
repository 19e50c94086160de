"""The table of cases of `nanostyle/diagnostics/cases.py`, joined to the references."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from nanostyle.diagnostics.cases import CASES, Case, Size
from tests.support import reference

__all__ = ["CASES", "Case", "Size", "quick", "reference_of", "sizes", "strided"]

# Few examples each: there are dozens of rows. The same ones in every run, so that a failure is never a surprise.
quick = settings(max_examples=12, derandomize=True)

sizes = st.builds(
    Size,
    N=st.integers(1, 3),
    H=st.integers(1, 9),
    W=st.integers(1, 9),
    C=st.integers(1, 5),
    M=st.integers(1, 5),
    S=st.integers(1, 3),
)


def reference_of(case: Case):
    """The plain float64 function of a case."""
    return getattr(reference, case.name)


def strided(x: np.ndarray) -> np.ndarray:
    """The same values, but not one behind the other in memory."""
    return np.repeat(x[..., None], 2, axis=-1)[..., 0] if x.ndim else x
