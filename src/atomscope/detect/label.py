"""Classes of columns by a lattice-specific model, for columns that are found already."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomscope.detect import find
from atomscope.detect.choose import View
from atomscope.models.store import Model
from atomscope.types import FloatArray

NEAR = 0.4  # of the canonical spacing: farther, a column of the model is another one
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """What a model with classes says of one frame.

    Attributes:
        label: Index of the class of each column, shape (N,); -1 where the model sees none.
        p: Its probability, shape (N,), NaN where there is none.
        vacant: Positions of empty sites in px, shape (V, 2).
        vacant_p: Their probabilities, shape (V,).
        vacant_label: Index of their class, shape (V,).
    """

    label: NDArray[np.int64]
    p: Floats
    vacant: Floats
    vacant_p: Floats
    vacant_label: NDArray[np.int64]


def label_frame(frame: FloatArray, model: Model, view: View, xy: Floats) -> Labels:
    """Give each column the class that a model of its lattice sees there.

    Args:
        frame: Image, shape (y, x).
        model: A model with classes.
        view: How the frame was shown when the columns were found.
        xy: Positions of the columns in px, shape (N, 2).
    """
    from scipy.spatial import cKDTree

    seen = find(frame, model, view)
    reach = NEAR * model.card.spacing_px / view.factor
    label, p = np.full(len(xy), -1), np.full(len(xy), np.nan)
    if len(xy) and len(seen.xy):
        distance, nearest = cKDTree(seen.xy).query(xy)
        met = distance < reach
        each = seen.found.label[nearest[met]]
        label[met], p[met] = each.argmax(1), each.max(1)
    empty = seen.vacant
    if len(xy) and len(empty.xy):  # a column that was found is none that is missing
        empty = empty.keep(cKDTree(xy).query(empty.xy)[0] > reach)
    best = empty.label.max(1) if len(empty.p) else np.empty(0)
    which = empty.label.argmax(1) if len(empty.p) else np.empty(0, dtype=np.int64)
    return Labels(label, p, empty.xy, empty.p * best, which)
