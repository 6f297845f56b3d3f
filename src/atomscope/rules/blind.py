"""Places without data: an atom that could not be seen there is no vacancy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from atomscope.rules.findings import Bools, Finding, Floats, Group
from atomscope.spacing import nearest

_CORE = 0.25  # spacings around a column: its core, which is lost
_SHARE = 0.25  # with this share of its pixels,
_MIDDLE = 0.1  # or with a pixel as near to its middle as this, in spacings
_NEXT = 1.2  # spacings: what is next to a lost column may lack a neighbour


@dataclass(frozen=True, eq=False)
class Blind:
    """Where columns of a frame are not seen for want of data.

    Attributes:
        lost: Places at which a column would not be found, (y, x).
        beside: Places next to such ones, and these, (y, x).
    """

    lost: Bools
    beside: Bools

    def hides(self, group: Group, xy: Floats) -> bool:
        """Whether a group may look as it does for want of data; `xy` (N, 2) of all atoms, px."""
        return any(self._hides(finding, xy) for finding in group.findings)

    def near(self, xy: Floats) -> Bools:
        """Which of some places (N, 2) px are beside lost ones, shape (N,)."""
        return _at(self.beside, xy)

    def _hides(self, finding: Finding, xy: Floats) -> bool:
        if finding.part == "rings":  # an atom within may be lost
            halfway = (xy[list(finding.atoms)] + finding.place) / 2
            return bool(_at(self.lost, np.vstack([finding.place, halfway])).any())
        if finding.part == "missing":
            return bool(_at(self.lost, finding.place[None])[0])
        beside = finding.part in ("foreign", "swaps", "extra")
        return beside and bool(self.near(finding.place[None])[0])


def blind_of(good: Bools, xy: Floats) -> Blind | None:
    """Return where columns are not seen; None where pixels have data everywhere.

    Args:
        good: Pixels that hold data, (y, x).
        xy: Positions of two columns or more, px, shape (N, 2).
    """
    bad = ~good
    if not bad.any():
        return None
    spacing = float(np.median(nearest(xy)))
    lost = ndimage.uniform_filter(bad.astype(np.float32), _box(_CORE * spacing)) >= _SHARE
    lost |= ndimage.maximum_filter(bad, _box(max(1.0, _MIDDLE * spacing)))
    return Blind(lost, ndimage.maximum_filter(lost, _box(_NEXT * spacing)))


def _box(reach: float) -> int:
    """Edge in px of the square that reaches so far from its middle."""
    return 2 * round(reach) + 1


def _at(mask: Bools, xy: Floats) -> Bools:
    col, row = np.rint(xy).astype(int).T
    return np.asarray(mask[row.clip(0, mask.shape[0] - 1), col.clip(0, mask.shape[1] - 1)])
