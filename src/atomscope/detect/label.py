"""Classes of columns by a lattice-specific model, for columns that are found already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from atomscope.detect import find
from atomscope.detect.tiles import Found
from atomscope.detect.view import View
from atomscope.models.store import ColumnClass, Model
from atomscope.shares import with_shares
from atomscope.types import FloatArray

NEAR = 0.4  # of the canonical spacing: farther, a column of the model is another one
# Sites with the shares of the training world that count beside those of a movie: shares there are
# uniform between 0 and 5 % or so, and scatter like those of beta distributions of so many.
WORLD = 150.0
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


def sites_in(frame: FloatArray, model: Model, view: View) -> Found:
    """Return all sites that a model with classes sees in a frame (y, x), the empty ones too."""
    seen = find(frame, model, view)
    both = zip(
        (seen.found.xy, seen.found.p, seen.found.label),
        (seen.vacant.xy, seen.vacant.p, seen.vacant.label),
        strict=True,
    )
    return Found(*(np.concatenate(pair) for pair in both))


def judged_together(frames: Sequence[Found], classes: Sequence[ColumnClass]) -> list[Found]:
    """Let the sites of each frame know how common the classes of columns are in the others.

    A network has seen its own frame, and what misleads it there misleads it alike at all of its
    sites: on worlds held apart, shares of the frame itself made labels worse, those of other frames
    of the same specimen better. A single frame stays as it is, and so do probabilities of empty
    sites, and all of them where the card does not know the shares of the training world.
    """
    column = np.array([not c.vacant for c in classes])
    known = np.array([c.share for c in classes])[column]
    if len(frames) < 2 or len(known) < 2 or known.min() <= 0:
        return list(frames)
    label = np.concatenate([f.label for f in frames])
    here = label[:, column].sum(axis=1, keepdims=True)
    label[:, column] = (
        here
        * with_shares(
            label[:, column] / here.clip(1e-12),
            known / known.sum(),
            WORLD,
            weight=np.concatenate([f.p for f in frames]) * here[:, 0],
            group=np.repeat(np.arange(len(frames)), [len(f.p) for f in frames]),
        )[0]
    )
    parts = np.split(label, np.cumsum([len(f.p) for f in frames])[:-1])
    return [replace(f, label=part) for f, part in zip(frames, parts, strict=True)]


def labels_at(xy: Floats, sites: Found, model: Model, view: View) -> Labels:
    """Give each column the class of the site that a model of its lattice sees there.

    Args:
        xy: Positions of the columns in px, shape (N, 2).
        sites: What the model sees in the frame.
        model: A model with classes.
        view: How the frame was shown when the columns were found.
    """
    from scipy.spatial import cKDTree

    reach = NEAR * model.card.spacing_px / view.factor
    none = np.array([c.vacant for c in model.card.classes])[sites.label.argmax(1)]
    seen, empty = sites.keep(~none), sites.keep(none)
    label, p = np.full(len(xy), -1), np.full(len(xy), np.nan)
    if len(xy) and len(seen.xy):
        distance, nearest = cKDTree(seen.xy).query(xy)
        met = distance < reach
        each = seen.label[nearest[met]]
        label[met], p[met] = each.argmax(1), each.max(1)
    if len(xy) and len(empty.xy):  # a column that was found is none that is missing
        empty = empty.keep(cKDTree(xy).query(empty.xy)[0] > reach)
    best = empty.label.max(1, initial=0.0)
    return Labels(label, p, empty.xy, empty.p * best, empty.label.argmax(1))
