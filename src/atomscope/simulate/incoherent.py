"""The fast incoherent model fitted to a better image: exponent of Z, width and tail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from atomscope.simulate.imaging import Frame, render
from atomscope.simulate.scene import Floats

TYPICAL = 1.7  # exponent of Z where an image cannot tell: all columns are the same
START = (TYPICAL, 0.5, 0.1, 2.5)  # exponent, width in Å, tail, width of the tail
LIMITS = ((0.3, 3.0), (0.15, 1.5), (-0.5, 0.6), (1.3, 6.0))


class FastModel(NamedTuple):
    """What the fast model needs for one setting of the microscope.

    Attributes:
        exponent: Power of Z of a column's strength.
        sigma: Width of a column in Å.
        tail: Share of the peak in a second, wider one.
        tail_width: Its width in units of the first.
    """

    exponent: float
    sigma: float
    tail: float
    tail_width: float


@dataclass(frozen=True)
class View:
    """A noise-free image and the columns that it shows.

    Attributes:
        frame: (y, x).
        xy: Positions (N, 2) in px, those just outside the frame among them.
        numbers: Atomic numbers of the atoms in each column.
        pixel_size: Å.
    """

    frame: Frame
    xy: Floats
    numbers: tuple[tuple[int, ...], ...]
    pixel_size: float

    @property
    def alike(self) -> bool:
        """Whether all columns hold the same, so that no exponent can be told."""
        return len({tuple(sorted(n)) for n in self.numbers}) == 1

    def drawn(self, model: FastModel) -> Frame:
        """Return the image of the fast model, its strongest column 1 high."""
        weight = np.array([np.sum(np.array(n, float) ** model.exponent) for n in self.numbers])
        return render(
            self.xy,
            weight / weight.max(),
            model.sigma / self.pixel_size,
            self.frame.shape,
            tail=model.tail,
            tail_width=model.tail_width,
        )

    def correlation(self, model: FastModel) -> float:
        """Pearson correlation of the fast model's image with the frame."""
        return float(np.corrcoef(self.drawn(model).ravel(), self.frame.ravel())[0, 1])


def fit(views: Sequence[View]) -> FastModel:
    """Return the fast model with the largest mean correlation with one or several images.

    Gain and offset have no say. Where every image holds but one kind of column, the exponent
    stays at its typical value.
    """
    free = [0, 1, 2, 3] if any(not view.alike for view in views) else [1, 2, 3]
    low, high = np.array(LIMITS).T

    def model(values: Floats) -> FastModel:
        full = np.array(START)
        full[free] = values
        return FastModel(*(float(v) for v in np.clip(full, low, high)))

    def loss(values: Floats) -> float:
        return -float(np.mean([view.correlation(model(values)) for view in views]))

    options = {"xatol": 1e-3, "fatol": 1e-6, "maxiter": 400}
    found = minimize(loss, np.array(START)[free], method="Nelder-Mead", options=options)
    return model(found.x)
