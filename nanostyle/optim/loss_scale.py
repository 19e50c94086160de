"""The loss scale of training in float16."""

FIRST_SCALE = 2.0**16


class LossScale:
    """A factor on the loss that keeps small gradients from vanishing in float16. It adapts its own size.

    Source: Micikevicius 2018, section 3.2.

    Parameters
    ----------
    adapts
        Begin at 2^16; halve after a step whose gradient was not finite, double after `growth` finite ones in a row.
        Otherwise the factor stays 1.

    Attributes
    ----------
    value : float
        The factor.
    good : int
        Finite steps since it last changed.

    Examples
    --------
    >>> scale = LossScale(adapts=True)
    >>> scale.update(finite=False)
    >>> scale.value
    32768.0
    """

    def __init__(self, *, adapts: bool, growth: int = 2000) -> None:
        self.adapts, self.growth = adapts, growth
        self.value, self.good = FIRST_SCALE if adapts else 1.0, 0

    def update(self, finite: bool) -> None:
        """Adapt to a step whose gradient was finite or not."""
        if not self.adapts:
            return
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.value /= 2
        elif self.good == self.growth:
            self.value, self.good = self.value * 2, 0
