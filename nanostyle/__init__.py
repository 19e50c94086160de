"""Neural style transfer from scratch on NumPy and CuPy.

The names in `__all__` are the public interface; each is read from its file when it is first used, so that
`import nanostyle` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nanostyle.api import evaluate as evaluate
    from nanostyle.api import load_model as load_model
    from nanostyle.api import load_style as load_style
    from nanostyle.api import stylize as stylize
    from nanostyle.api import stylize_iter as stylize_iter
    from nanostyle.api import train as train
    from nanostyle.errors import NanostyleError as NanostyleError
    from nanostyle.methods.gatys_options import GatysOptions as GatysOptions
    from nanostyle.methods.request import StylizeOptions as StylizeOptions
    from nanostyle.methods.result import Progress as Progress
    from nanostyle.methods.result import Result as Result
    from nanostyle.methods.scoring import EvaluateOptions as EvaluateOptions
    from nanostyle.methods.stylizer import Stylizer as Stylizer
    from nanostyle.methods.video_file import stylize_video as stylize_video
    from nanostyle.methods.video_options import VideoOptions as VideoOptions
    from nanostyle.models.base import TrainedModel as TrainedModel
    from nanostyle.models.style import Style as Style
    from nanostyle.training.options import TrainOptions as TrainOptions

_HOMES = {
    "stylize": "api",
    "stylize_iter": "api",
    "stylize_video": "methods.video_file",
    "load_model": "api",
    "load_style": "api",
    "train": "api",
    "evaluate": "api",
    "Stylizer": "methods.stylizer",
    "StylizeOptions": "methods.request",
    "VideoOptions": "methods.video_options",
    "GatysOptions": "methods.gatys_options",
    "TrainOptions": "training.options",
    "EvaluateOptions": "methods.scoring",
    "Result": "methods.result",
    "Progress": "methods.result",
    "Style": "models.style",
    "TrainedModel": "models.base",
    "NanostyleError": "errors",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nanostyle' has no attribute {name!r}")
    value = getattr(import_module(f"nanostyle.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
