"""The options of Gatys' method, each with its default and its help text."""

from dataclasses import dataclass, field

from nanostyle.nn.losses import Scale

LAYER = "NAME[=WEIGHT]"


@dataclass(frozen=True)
class GatysOptions:
    """The options of Gatys' method. A layer is `NAME` or `NAME=WEIGHT`; weights of one kind are scaled to sum to 1.

    Attributes
    ----------
    iterations : int
        The most steps at the coarsest size; a finer size does a quarter at most.
    optimizer : str
        `lbfgs` or `adam`.
    init : str
        What the optimization starts from: `content` (the photo in the painting's colors), `photo` (the bare photo),
        `noise` or `style` (the painting).
    content_layers, style_layers : tuple of str
        Layers of the loss network. Empty: relu4_2, or the nearest to it that there is; of relu1_1 to relu5_1 those
        there are.
    content_weight, style_weight, tv_weight : float
        How much content, style and total variation count, 0 or more. Total variation smooths noise.
    style_scale : float
        The size of the painting beside that of the photo.
    loss_scale : str
        `relative`, or `paper` for Gatys' own formulas.
    pyramid : bool or None
        Whether to go from coarse to fine. None: for photos of 256 pixels and more.
    least_gain : float
        A size is done when 10 steps lower the loss by less than this share. 0: all steps are done.
    learning_rate : float
        Of Adam.
    seed : int
        Fixes what is random.

    Examples
    --------
    >>> from nanostyle import GatysOptions, stylize
    >>> options = GatysOptions(iterations=2, style_layers=("relu1_1", "relu2_1=2"))
    >>> stylize("docs/pictures/photo.jpg", "docs/pictures/painting.jpg", size=64, gatys=options).pixels.shape
    (43, 64, 3)
    """

    iterations: int = field(
        default=64, metadata={"help": "Most steps at the coarsest size; a finer size does a quarter at most."}
    )
    optimizer: str = field(default="lbfgs", metadata={"choices": ("lbfgs", "adam"), "help": "How the loss is lowered."})
    init: str = field(
        default="content",
        metadata={
            "choices": ("content", "photo", "noise", "style"),
            "help": "What to start from: the photo in the painting's colors (content), the bare photo, noise, or the"
            " painting (style).",
        },
    )
    content_layers: tuple[str, ...] = field(
        default=(),
        metadata={
            "metavar": LAYER,
            "help": "Layer of the content loss; may be repeated. Default: relu4_2, or the nearest that there is.",
        },
    )
    style_layers: tuple[str, ...] = field(
        default=(),
        metadata={
            "metavar": LAYER,
            "help": "Layer of the style loss; may be repeated. Default: those of relu1_1 to relu5_1 that there are.",
        },
    )
    content_weight: float = field(
        default=5.0,
        metadata={"help": "Weight of the content loss: more keeps more of the photo, less lets larger forms in."},
    )
    style_weight: float = field(default=60.0, metadata={"help": "Weight of the style loss."})
    tv_weight: float = field(
        default=0.1, metadata={"help": "Weight of the total variation, which smooths noise; 0 disables it."}
    )
    style_scale: float = field(
        default=1.0, metadata={"help": "Size of the painting relative to the photo: sets the size of the strokes."}
    )
    loss_scale: Scale = field(
        default="relative",
        metadata={
            "choices": ("relative", "paper"),
            "help": "relative: losses without a scale, so that weights suit any loss network; paper: Gatys' formulas.",
        },
    )
    pyramid: bool | None = field(
        default=None, metadata={"help": "Work from coarse to fine. Default: for photos of 256 pixels and more."}
    )
    least_gain: float = field(
        default=0.02,
        metadata={"help": "A size is done when 10 steps lower the loss by less than this share; 0: do all steps."},
    )
    learning_rate: float = field(default=0.02, metadata={"help": "Learning rate of Adam."})
    seed: int = field(default=0, metadata={"help": "Seed of everything random."})
