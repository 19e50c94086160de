"""The photo's own colors on a stylized picture."""

import numpy as np
import numpy.typing as npt

from nanostyle.io.color import LUMA


def keep_colors(result: npt.NDArray[np.float32], photo: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """`result` with its own brightness and the colors of `photo`, both `(H, W, 3)` in 0..1.

    Source: Gatys 2016b (Preserving Color in Neural Artistic Style Transfer), section 4, luminance-only transfer; the
    luminance is transferred after the stylization.
    """
    return np.clip(photo + ((result - photo) @ LUMA.astype(np.float32))[..., None], 0, 1)
