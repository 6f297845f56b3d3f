"""The pixels of a frame in the units of the fit, made part by part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomscope.refine.windows import Bools, Floats, Ints
from atomscope.types import FloatArray


@dataclass(frozen=True)
class Pixels:
    """A frame that is too large to be held twice in double precision.

    Attributes:
        image: Values, shape (y, x).
        usable: Which take part, shape (y, x).
        level: Taken off each value.
        gain: Factor on what is left, negative for dark columns.
    """

    image: FloatArray
    usable: Bools
    level: float = 0.0
    gain: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (y, x)."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def range(self) -> float:
        """Difference between the largest and the least usable value."""
        high = np.max(self.image, where=self.usable, initial=-np.inf)
        low = np.min(self.image, where=self.usable, initial=np.inf)
        return abs(self.gain) * max(float(high) - float(low), 0.0)

    def part(self, box: tuple[int, int, int, int]) -> tuple[Floats, Floats]:
        """Values and weights (1 or 0) of rows y0 to y1 and columns x0 to x1."""
        y0, y1, x0, x1 = box
        return self._clean(self.image[y0:y1, x0:x1], self.usable[y0:y1, x0:x1])

    def windows(self, rows: Ints, columns: Ints) -> tuple[Floats, Floats]:
        """Values and weights at pixels (N, w, w); beyond the border both are 0."""
        height, width = self.shape
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        at = (rows.clip(0, height - 1), columns.clip(0, width - 1))
        return self._clean(self.image[at], self.usable[at] & inside)

    def _clean(self, values: FloatArray, usable: Bools) -> tuple[Floats, Floats]:
        clean = np.where(usable, (values.astype(np.float64) - self.level) * self.gain, 0.0)
        return clean, usable.astype(np.float64)
