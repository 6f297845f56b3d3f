"""Frames of single events: how much of what was found chance alone makes of them.

At a few electrons per atom most pixels count none. Their noise is not that of a network's
training: one or two electrons on empty ground stand out of it as far as an atom does elsewhere.
But there the number of electrons says what chance does, exactly (Poisson).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from atomscope.detect.prepare import Mask
from atomscope.models.blocks import slices
from atomscope.spacing import nearest
from atomscope.types import FloatArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NONE = 0.35  # share of pixels that count nothing; with fewer of them noise is near to a Gaussian's
WHOLE = 0.01  # of an event: how far a pixel may be from a whole number of them
SAMPLE = 1 << 16  # pixels that tell whether a frame is one of single events
FOOTPRINT = 1.5  # widths of an atom: radius within which its events are counted,
BESIDE = 2.5  # beyond which they no longer count as background,
AROUND = 8.0  # and over which the background is averaged
TRIALS = 4.0  # places per footprint where chance may try: more than one, since they are sought
SURE = 0.2  # chance below which a column is no background
ROUNDS = 4
AT_A_TIME = 1 << 20  # pixels around columns
CELLS, SCARCE = 2.0, 0.45  # spacings; share of the usual events there, below which is no crystal,
RARELY = 1e-4  # where chance makes as few of them more seldom than that
EACH = 1.25  # events per column, with fewer of which an averaged lattice is one of chance


@dataclass(frozen=True)
class Counts:
    """Events per pixel, shape (y, x), and which pixels can count."""

    events: NDArray[np.float32]
    good: Mask


def counted(frame: FloatArray, good: Mask) -> Counts | None:
    """Return the events of a frame that counts single ones, None for any other.

    There the least value is that of most pixels, and all others are whole multiples of one step
    above it, whatever gain and offset are.
    """
    step = max(1, int(np.sqrt(frame.size / SAMPLE)))
    sample = frame[::step, ::step][good[::step, ::step]].astype(np.float64)
    if not sample.size:
        return None
    least = float(sample.min())
    rest = sample[sample > least]
    if not len(rest) or len(rest) > (1 - NONE) * len(sample):
        return None
    events = ((frame - least) / float(rest.min() - least)).astype(np.float32)
    whole = np.rint(events)
    if np.abs(events - whole)[good].max() > WHOLE or whole[good].min() < 0:
        return None
    return Counts(np.where(good, whole, 0), good)


def chance(counts: Counts, xy: Floats, width: float) -> Floats:
    """Return for each column the share of such columns that chance alone would make, (N,), 0 to 1.

    The false discovery rate (Benjamini & Hochberg, J. R. Stat. Soc. B 57, 289 (1995)) of columns
    with at least as unlikely a number of events on their ground. What is sure itself is taken
    out of the ground, over and over.

    Args:
        counts: Of the frame.
        xy: Positions in px, shape (N, 2).
        width: Of an atom, px.
    """
    if not len(xy):
        return np.empty(0)
    disc, beside = _disc(FOOTPRINT * width), _disc(BESIDE * width)
    trials = TRIALS * counts.events.size / len(disc)
    number, pixels = (_sum(values, xy, disc) for values in (counts.events, counts.good))
    false = np.ones(len(xy))
    for _ in range(ROUNDS):
        free = counts.good.copy()
        for row, col, inside in _places(free.shape, xy[false < SURE], beside):
            free[row[inside], col[inside]] = False
        expected = pixels * _ground(counts.events, free, xy, width)
        tail = np.where(number > 0, special.gammainc(np.maximum(number, 1), expected), 1.0)
        false = _discoveries(tail, trials)
    return false


def beyond_chance(
    p: Floats, counts: Counts, xy: Floats, width: float, *, lattice: bool, averaged: bool
) -> Floats:
    """Return the probabilities (N,) of columns with what their events say taken in.

    Args:
        p: Of the network, shape (N,).
        counts: Of the frame.
        xy: Positions in px, shape (N, 2).
        width: Of an atom, px.
        lattice: Whether columns repeat. Then the network knows more of a column than its own
            events, and its odds are multiplied by those against chance; else they are all there is.
        averaged: Whether the lattice was averaged. Then no column stands for itself, see `_empty`.
    """
    if averaged:
        return np.where(_empty(counts, xy, p > 0.5), 0.0, p)
    false = chance(counts, xy, width)
    if not lattice:
        return np.asarray(p * (1 - false))
    against = np.minimum(1.0, (1 - false) / np.maximum(false, 1e-12))
    return np.asarray(p * against / (p * against + 1 - p + 1e-12))


def _empty(counts: Counts, xy: Floats, sure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Columns of an averaged lattice, which goes on beyond the crystal, where hardly any event is.

    With hardly more events than columns all of them are chance.
    """
    if sure.sum() < 2:
        return ~sure
    spacing = float(np.median(nearest(xy[sure])))
    near = _disc(CELLS * spacing)
    number = _sum(counts.events, xy, near)
    pixels = np.maximum(_sum(counts.good, xy, near), 1)
    rate = number / pixels
    usual = float(np.sum(rate**2) / max(rate.sum(), 1e-12))  # that of the events, not of the frame
    by_chance = special.gammaincc(number + 1, usual * pixels)  # as few, where there are as many
    few = counts.events.sum() < EACH * sure.sum()
    return np.asarray(few | ((rate < SCARCE * usual) & (by_chance < RARELY)))


def _disc(radius: float) -> Ints:
    """Steps (y, x) to the pixels within a radius, at least the pixel itself, shape (M, 2)."""
    reach = int(np.ceil(radius))
    steps = np.indices((2 * reach + 1, 2 * reach + 1)).reshape(2, -1).T - reach
    return np.asarray(steps[np.hypot(*steps.T) <= max(radius, 1.0)], dtype=np.int64)


def _places(
    shape: tuple[int, ...], xy: Floats, disc: Ints
) -> Iterator[tuple[Ints, Ints, NDArray[np.bool_]]]:
    """Rows and columns (K, M) of the pixels around some positions after the other.

    With them, which lie in the frame; all pixels of a large frame at a time would not fit.
    """
    for part in slices(len(xy), max(1, AT_A_TIME // len(disc))):
        col, row = (np.rint(xy[part, a, None]).astype(np.int64) + disc[:, 1 - a] for a in (0, 1))
        inside = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])
        yield row.clip(0, shape[0] - 1), col.clip(0, shape[1] - 1), inside


def _sum(values: NDArray[np.generic], xy: Floats, disc: Ints) -> Floats:
    """Sums of the values around positions, as far as these lie in the frame, shape (N,)."""
    places = _places(values.shape, xy, disc)
    sums = [np.sum(values[row, col] * inside, axis=1, dtype=float) for row, col, inside in places]
    return np.concatenate([np.empty(0), *sums])


def _ground(events: NDArray[np.float32], free: Mask, xy: Floats, width: float) -> Floats:
    """Events per pixel of the ground around positions, from the pixels that are free."""
    block = max(1, int(width))
    sums = []
    for values in (np.where(free, events, 0), free):
        whole = [-n % block for n in values.shape]
        padded = np.pad(values.astype(np.float32), [(0, n) for n in whole])
        blocks = padded.reshape(padded.shape[0] // block, block, -1, block).sum((1, 3))
        sums.append(ndimage.gaussian_filter(blocks, AROUND * width / block, mode="constant"))
    mean = events[free].mean() if free.any() else 0.0
    rate = (sums[0] + 1e-3 * mean) / (sums[1] + 1e-3)
    row, col = (np.rint(xy[:, a]).astype(np.int64).clip(0) // block for a in (1, 0))
    return np.asarray(
        rate[row.clip(0, rate.shape[0] - 1), col.clip(0, rate.shape[1] - 1)], dtype=np.float64
    )


def _discoveries(tail: Floats, trials: float) -> Floats:
    """False discovery rates from tail probabilities, where chance tries so many times."""
    order = np.argsort(tail, kind="stable")
    rate = trials * tail[order] / np.arange(1, len(tail) + 1)
    false = np.empty(len(tail))
    false[order] = np.minimum.accumulate(rate[::-1])[::-1].clip(0, 1)
    return false
