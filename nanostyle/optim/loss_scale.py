"""The scale of the loss in float16 training."""

FIRST_SCALE = 2.0**16


class LossScale:
    """What the loss is multiplied by, so that gradients that would vanish in float16 do not; it finds its own size.

    Source: Micikevicius 2018, section 3.2.

    Attributes
    ----------
    value : float
        The factor: 1 for good, or from 2^16 on halved after a step whose gradient was not finite, and doubled after
        `growth` good ones.
    good : int
        Good steps since it last changed.
    """

    def __init__(self, *, adapts: bool, growth: int = 2000) -> None:
        self.adapts, self.growth = adapts, growth
        self.value, self.good = FIRST_SCALE if adapts else 1.0, 0

    def update(self, finite: bool) -> None:
        """Take note of a step, whose gradient was finite or not."""
        if not self.adapts:
            return
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.value /= 2
        elif self.good == self.growth:
            self.value, self.good = self.value * 2, 0
