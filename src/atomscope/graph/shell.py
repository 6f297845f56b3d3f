"""The radius that parts the first shell of a lattice from its second."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SAMPLE = 20_000  # atoms that vote
_LEAST = 8  # atoms; fewer have no shells to speak of
_LOOSE = 1.3  # nearest distances: the radius where there are no shells
_LEAST_REACH = 1.15  # nearest distances: no shell is narrower
NEAR = 7  # neighbours that are looked at: one more than a shell of six has
_BAND = 1.12  # the emptiest place is looked for within this factor of the vote
_BIN, _BLUR = 0.01, 3.0  # width of a bin of the logarithm of a distance; bins of smoothing


def shell_radius(distance: Floats) -> float:
    """Return the radius between first and second shell from distances to nearest neighbours.

    Each atom votes for the middle (geometric) of the widest gap among its distances, from the
    second on; at a vacancy the gap is the same, so the median stands fast. Then the emptiest
    distance near it is taken, since with noise single atoms misjudge the gap.

    Args:
        distance: Sorted distances of each atom to others, shape (N, k), inf where there is none.

    Returns:
        The radius, 0 where all atoms are in one place.
    """
    away = distance[:: max(1, len(distance) // _SAMPLE)]
    away = np.where(away > 0, away, np.inf)
    nearest = away.min(axis=1, initial=np.inf)
    nearest = nearest[np.isfinite(nearest)]
    if len(nearest) == 0:
        return 0.0
    typical = float(np.median(nearest))
    rows = np.sort(away[:, :NEAR], axis=1)
    rows = rows[np.isfinite(rows).all(axis=1)] if rows.shape[1] == NEAR else rows[:0]
    if len(rows) < _LEAST:
        return _LOOSE * typical
    inner, outer = rows[:, 1:-1], rows[:, 2:]
    # Inner gaps weigh more: with vacancies that behind the second shell can be as wide.
    weight = 1 / np.sqrt(np.arange(2, NEAR))
    widest = np.argmax(weight * np.log(outer / inner), axis=1)[:, None]
    votes = np.sqrt(
        np.take_along_axis(inner, widest, axis=1) * np.take_along_axis(outer, widest, axis=1)
    )
    return max(_emptiest(rows, float(np.median(votes))), _LEAST_REACH * typical)


def _emptiest(rows: Floats, guess: float) -> float:
    """The distance at which fewest neighbours are, near a guess."""
    from scipy.ndimage import gaussian_filter1d

    half = round(np.log(_BAND) / _BIN)
    edges = (np.arange(-2 * half, 2 * half + 2) - 0.5) * _BIN
    count = np.histogram(np.log(rows / guess), bins=edges)[0].astype(np.float64)
    smooth = gaussian_filter1d(count, _BLUR)[half:-half]
    low = smooth <= smooth.min() + 0.02 * smooth.max()
    # Of several equally empty places the one around the vote.
    offsets = (np.arange(len(smooth)) - half) * _BIN
    start = int(np.argmin(np.where(low, np.abs(offsets), np.inf)))
    stop = start
    while start > 0 and low[start - 1]:
        start -= 1
    while stop < len(low) - 1 and low[stop + 1]:
        stop += 1
    return guess * float(np.exp(0.5 * (offsets[start] + offsets[stop])))
