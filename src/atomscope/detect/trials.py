"""Looking at a part of a frame at one sampling and another: which one shows columns?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from atomscope.detect.tiles import columns
from atomscope.models.normalise import normalise
from atomscope.models.store import Model
from atomscope.sampling import resample, to_input
from atomscope.scale import measure
from atomscope.spacing import nearest

Frame = NDArray[np.float32]

FACTORS = (0.02, 8.0)  # canonical px per input px: beyond, no microscope's frame makes sense
CROP = 192  # canonical px: width of the part on which a factor is tried
KEPT = 93.0  # percentile up to which brightness is kept where frames are dimmed
HANDFUL = 8  # columns, with fewer of which no distance is told
SPOT = 0.12  # of the distance between columns: their width in a drawing of them

# From the repeat of the frame to columns
MANY_SIGMA = 0.65  # canonical px: a finer grain means several columns in the repeat
FINER = 1.6  # times the factor of the repeat: between a square's diagonal and a dumbbell
SURER = 0.1  # by how much a factor at which the repeat is one column must then be surer
ALIKE = 0.004  # certainty that two factors may differ in, and the finer one is as good
NEARLY, CLEARER = 0.06, 0.3  # less certainty, and so much more order, make up for each other
AGAIN = (0.4, 4.5)  # times the first factor: what columns found may ask for; pairs of phosphorene 4

# Columns of one factor that are several at a finer one
NARROW = 0.9  # canonical px: grain of the frame above which there are none
APART = 2.5  # times the first factor: there pairs are seen as two
FEWER = 1.5  # times smaller than other parts is the one that is looked at for them
RESOLVED = 4.0  # px of the frame at least between them; closer ones may be those of a coarse frame
MIDDLE, WITHIN = 0.06, 0.35  # distances of columns: how far the two are from the middle of a pair
MOST = 0.6  # share of the columns that must be pairs
CERTAIN, REPEAT = 0.77, 0.2  # how sure pairs are, and how well they repeat, at least
MORE = 1.8  # times as many columns at least, where a weak sublattice was overlooked
SURE_OF_MORE, REPEAT_OF_MORE = 0.84, 0.25  # the same of these; noise reaches 0.82


@dataclass(frozen=True, eq=False)
class Trial:
    """What one factor shows on a part of the frame.

    Attributes:
        factor: Canonical px per px of the input.
        score: Certainty of the columns found, 0 to 1.
        xy: Sure columns in canonical px, shape (N, 2); none where there is but a handful.
        shape: Of the part in canonical px.
        dimmed: Whether what is far brighter than nearly all of it was dimmed.
    """

    factor: float
    score: float
    xy: NDArray[np.float64]
    shape: tuple[int, ...]
    dimmed: bool = False

    @cached_property
    def _distances(self) -> NDArray[np.float64]:
        """Quartiles of the distance to the nearest neighbour in canonical px, shape (3,)."""
        return np.asarray(np.quantile(nearest(self.xy), (0.25, 0.5, 0.75)))

    @property
    def nearest(self) -> float | None:
        """Median distance of neighbours in canonical px, None for a handful."""
        return float(self._distances[1]) if len(self.xy) else None

    @property
    def unevenness(self) -> float:
        """Range of the middle half of these distances, in medians."""
        low, middle, high = self._distances
        return float((high - low) / middle)

    @property
    def resolved(self) -> bool:
        """Whether columns lie so many pixels apart that none is a trick of the sampling."""
        return self.nearest is not None and self.nearest > RESOLVED * self.factor

    @property
    def filling(self) -> float:
        """Share of the part that the columns fill, 1 for a square lattice at that distance."""
        return len(self.xy) * (self.nearest or 0.0) ** 2 / float(np.prod(self.shape))

    @property
    def density(self) -> float:
        """Columns per px of the input."""
        return len(self.xy) * self.factor**2 / float(np.prod(self.shape))

    @cached_property
    def order(self) -> float:
        """How well the columns repeat, all drawn alike: 1 for a perfect crystal.

        Height of the autocorrelation of the drawing at the shortest repeat.
        """
        if self.nearest is None:
            return 0.0
        drawn = np.zeros(self.shape, dtype=np.float32)
        col, row = np.rint(self.xy).astype(int).T
        drawn[row.clip(0, self.shape[0] - 1), col.clip(0, self.shape[1] - 1)] = 1
        return measure(ndimage.gaussian_filter(drawn, SPOT * self.nearest)).order


def best_trial(model: Model, frame: Frame, spacing: float, sigma: float | None) -> Trial:
    """Try the spacing as it is, and finer: the repeat may hold several columns.

    At the wrong factor columns merge or noise is found, and both cost certainty. Where the
    grain is very much finer than the repeat, the repeat is taken for one column only where that
    is much surer.
    """
    base = model.card.spacing_px / spacing
    many = sigma is not None and sigma * base < MANY_SIGMA
    wanted = [2**0.5 * FINER * base] if many else [FINER * base, base]
    trials = [attempt(model, frame, factor) for factor in wanted]
    best = _fuller(trials)
    if many:
        one = attempt(model, frame, base)
        best = one if one.score > best.score + SURER else best
    return _at_own_spacing(model, frame, best, base)


def _at_own_spacing(model: Model, frame: Frame, trial: Trial, base: float) -> Trial:
    """Try the columns found at the distance that the network knows best; `trial` if far less sure.

    `base` is the factor of the frame's repeat.
    """
    if trial.nearest is None or 0.75 < trial.nearest / model.card.spacing_px < 1.2:
        return trial
    again = float(np.clip(trial.factor * model.card.spacing_px / trial.nearest, *FACTORS))
    if not AGAIN[0] < again / base < AGAIN[1]:
        return trial
    other = attempt(model, frame, again)
    return other if other.nearest is not None and other.score > 0.8 * trial.score else trial


def told_apart(model: Model, frame: Frame, trial: Trial, sigma: float | None) -> Trial:
    """Return a finer trial where columns of one turn out to be several, or else the same.

    Pairs far from each other (phosphorene; TiO2 [001] in a blurred frame) look like columns of a
    coarser lattice, and as sure. `sigma` is the grain of the frame in px.
    """
    if sigma is None or sigma * trial.factor > NARROW:
        return trial
    piece = _part(frame, FEWER * APART * trial.factor)[0]
    whole, finer = (attempt(model, piece, times * trial.factor) for times in (1.0, APART))
    if not finer.resolved:
        return trial
    if _shows_pairs(finer, whole):
        return finer
    if _shows_more(finer, whole):
        return _at_own_spacing(model, piece, finer, trial.factor)
    return trial


def _shows_pairs(finer: Trial, whole: Trial) -> bool:
    """Tell whether most columns fall apart: two or more beside the place, none in it."""
    if finer.score < CERTAIN or whole.nearest is None:
        return False
    places, parts = (to_input(each.xy, each.factor) for each in (whole, finer))
    apart = whole.nearest / whole.factor
    tree = cKDTree(parts)
    several = tree.query_ball_point(places, WITHIN * apart, return_length=True) >= 2
    share = float(np.mean(several & (tree.query(places)[0] > MIDDLE * apart)))
    return share >= MOST and finer.order >= REPEAT


def _shows_more(finer: Trial, whole: Trial) -> bool:
    """Tell whether there are about twice as many columns as were seen, sure ones that repeat."""
    more = finer.density > MORE * whole.density
    return more and finer.score >= SURE_OF_MORE and finer.order >= REPEAT_OF_MORE


def _fuller(trials: list[Trial]) -> Trial:
    """Of the trials about as sure as the best, the one with most columns: none is overlooked.

    Where some of them repeat, of those: noise taken for columns is dense as well. And one that is
    nearly as sure and repeats far better is taken before them.
    """
    best = max(trial.score for trial in trials)
    alike = [trial for trial in trials if trial.score >= best - ALIKE]
    if len(alike) > 1:
        alike = [trial for trial in alike if trial.order >= REPEAT] or alike
    fullest = max(alike, key=lambda trial: trial.density)
    near = [trial for trial in trials if trial.score >= best - NEARLY and trial is not fullest]
    clearer = [trial for trial in near if trial.order >= fullest.order + CLEARER]
    return max(clearer, key=lambda trial: trial.order, default=fullest)


def attempt(model: Model, frame: Frame, factor: float, *, dim: bool = False) -> Trial:
    """Look at a part of the frame at one factor, brought into its bounds; see `dimmed`."""
    factor = float(np.clip(factor, *FACTORS))
    part = _part(frame, factor)[1]
    part = dimmed(part, 1.0) if dim else part
    found = columns(model, normalise(part))
    sure = found.p > 0.5
    p = found.p[sure]
    score = float(p.sum() / (found.p.sum() + 2.0) * p.mean()) if len(p) else 0.0
    xy = found.xy[sure] if len(p) >= HANDFUL else found.xy[:0]
    return Trial(factor, score, xy, part.shape, dim)


def dimmed(frame: Frame, factor: float) -> Frame:
    """Return a frame in which nothing is much brighter than nearly all of it.

    A few heavy atoms, or specks, would set the contrast of all that is around them.

    Args:
        frame: Bright atoms.
        factor: Canonical px per px of the frame: what is brighter than others shows over one.
    """
    smooth = ndimage.gaussian_filter(frame, 1 / factor)
    return np.asarray(frame - (smooth - np.percentile(smooth, KEPT)).clip(0), np.float32)


def _part(frame: Frame, factor: float) -> tuple[Frame, Frame]:
    """Part of a frame with most detail, as it is and resampled; then it is about CROP px wide."""
    edge = int(np.ceil(CROP / factor))
    height, width = frame.shape
    if height * width <= 1.5 * edge * edge:
        return frame, resample(frame, factor)
    corners = [(y, x) for y in _starts(height, edge) for x in _starts(width, edge)]
    parts = (frame[y : y + edge, x : x + edge] for y, x in corners)
    both = ((part, resample(part, factor)) for part in parts)
    return max(both, key=lambda two: float(np.diff(two[1], axis=1).std()))


def _starts(length: int, edge: int) -> list[int]:
    """Up to three places of a part of `edge` px along a side."""
    if length <= edge:
        return [0]
    return sorted({0, (length - edge) // 2, length - edge})
