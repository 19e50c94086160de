"""Networks known by name, and where their files are."""

import os
import tempfile
from collections.abc import Collection
from pathlib import Path

# Networks known by name: their files, and the command that makes or gets one.
FILES = {
    "builtin": "loss.h5",
    "vgg16": "vgg16.h5",
    "vgg19": "vgg19.h5",
    "vgg19-torchvision": "vgg19-torchvision.h5",
    "any": "any.h5",
    "styles": "styles.h5",
}
LOSS_NETWORKS, TRAINED = ("builtin", "vgg16", "vgg19", "vgg19-torchvision"), ("any", "styles")
_COMMANDS = {
    "builtin": "nanostyle weights fetch vgg19",
    "vgg16": "nanostyle weights fetch vgg16",
    "vgg19": "nanostyle weights fetch vgg19",
    "vgg19-torchvision": "nanostyle weights fetch vgg19-torchvision",
    "any": "nanostyle train, in mode predict",
    "styles": "nanostyle train, in mode cin",
}


# --- where files are --------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """The user's folder for files that can be had again; one for temporary files where the user has no home."""
    base = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME")
    if base:
        return Path(base) / "nanostyle"
    try:
        home = Path.home()
    except RuntimeError:  # a container's user without an entry in the list of users
        return Path(tempfile.gettempdir()) / "nanostyle"
    return home / ("AppData/Local" if os.name == "nt" else ".cache") / "nanostyle"


def find(name: str | os.PathLike[str], among: Collection[str] = tuple(FILES)) -> Path:
    """The file of a network: `name` is one of those in `among`, or the path of a file.

    A name is looked for in the folder `NANOSTYLE_WEIGHTS` names, in the package, in a checkout, in the user's cache.

    Raises
    ------
    FileNotFoundError
        It lists each file looked for, and the command that gets one.
    ValueError
        `name` is no network's name, and does not look like the name of a file.
    """
    path = Path(name)
    if str(name) not in among:
        if path.exists():
            return path
        if path.suffix or len(path.parts) > 1:
            raise FileNotFoundError(f"there is no file {path}; known by name are {', '.join(among)}")
        raise ValueError(f"there is no network {path}; known are {', '.join(among)}, or give a file")
    candidates = places(str(name))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"there are no weights for {name}: looked for {', '.join(map(str, candidates))}; "
        f"get {'others' if name == 'builtin' else 'them'} with: {_COMMANDS[str(name)]}"
    )


def places(name: str) -> list[Path]:
    """Where the file of the network called `name` is looked for, in this order."""
    package = Path(__file__).resolve().parents[1]
    own = os.environ.get("NANOSTYLE_WEIGHTS")
    installed = [package / "weights"]
    checkout = [package.parent / "weights" / "builtin", package.parent / "weights"]
    here = checkout if (package.parent / "pyproject.toml").is_file() else installed
    return [folder / FILES[name] for folder in [*([Path(own)] if own else []), *here, cache_folder()]]


def built_in(name: str) -> Path | None:
    """The file of the built-in model `any` or `styles`, or None where it is not installed."""
    return next((path for path in places(name) if path.is_file()), None)
