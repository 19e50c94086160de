"""What results become: pictures for the page, files to download, the line that tells of a step."""

from pathlib import PurePath

from nanostyle import Progress, Result
from nanostyle.io.image_read import Picture
from nanostyle.io.image_write import encode_image, thumbnail_jpeg
from nanostyle.io.resample import fitted, resize
from nanostyle.server.store import Result as File
from nanostyle.server.wire import FORMATS, Order

PREVIEW_QUALITY = 88


def shown(picture: Picture | Result, longest: int) -> tuple[bytes, str]:
    """A picture for the page, its long side at most `longest`: a JPEG, or a PNG where it has alpha."""
    pixels, alpha = picture.pixels, picture.alpha
    if alpha is None:
        return thumbnail_jpeg(pixels, longest, PREVIEW_QUALITY), "image/jpeg"
    size = (pixels.shape[0], pixels.shape[1])
    if longest < max(size):
        size = fitted(size, longest)
        pixels, alpha = resize(pixels, size), resize(alpha[..., None], size)[..., 0]
    return encode_image("PNG", pixels, alpha=alpha), "image/png"


def line_of(error: BaseException) -> str:
    """What to tell of an error, on one line."""
    if isinstance(error, MemoryError):
        return "not enough memory for this picture; ask for a smaller size"
    return " ".join(str(error).split()) or type(error).__name__


def note(progress: Progress) -> str:
    """The loss of a step and the shares of its terms."""
    total = sum(progress.terms.values())
    if total <= 0:
        return ""
    shares = (f"{name} {100 * value / total:.0f} %" for name, value in progress.terms.items())
    return f"loss {progress.loss:.4g}: " + ", ".join(shares)


def result_file(order: Order, result: Result, photo: str) -> File:
    """A result as the file that was ordered, named after its photo and its style."""
    kind, media, suffix = FORMATS[order.format]
    data = encode_image(
        kind,
        result.pixels,
        alpha=result.alpha,
        recipe=result.recipe,
        quality=order.quality,
        bits=result.bits,
        metadata=result.metadata,
    )
    first = PurePath(str(result.recipe["styles"][0])).stem
    return File(data, media, f"{PurePath(photo).stem}_{first}{suffix}")


def unique(name: str, taken: set[str]) -> str:
    """A name for an entry of a zip that no other has."""
    path, count, found = PurePath(name), 1, name
    while found in taken:
        count += 1
        found = f"{path.stem} {count}{path.suffix}"
    taken.add(found)
    return found
