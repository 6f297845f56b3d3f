"""Brightness in common units: local gain taken out, classes found, both in turn."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atomscope.columns import positions
from atomscope.species.errors import LIGHT, growth, shown
from atomscope.species.gain import gain_field
from atomscope.species.ground import off_ground
from atomscope.species.mixture import Data, Floats, Ints, Mixture, fit_mixture, grown

_ALIKE = 0.03  # sublattices whose typical intensities differ by less count as one kind
_FLAT = 0.01  # relative change of a field that is none
_STEEP = 0.04  # standard deviation of a slope that is tried beside none to begin with
_ROUNDS = 3
_LEFT = 0.25  # of squared errors: what remains at least


@dataclass(frozen=True)
class Levels:
    """Atoms with a known intensity in common units, and their classes.

    Attributes:
        known: Which rows of the table these are, shape (rows,).
        data: Their intensities over the local gain.
        free: Classes of brightness, ascending.
        unit: Intensity of the table that is 1 here.
        slope: Standard deviation of the logarithm of the gain over the field.
    """

    known: NDArray[np.bool_]
    data: Data
    free: Mixture
    unit: float
    slope: float


def find_levels(table: pd.DataFrame, known: NDArray[np.bool_]) -> Levels:
    """Find classes of brightness and the gain of each place.

    A slope of the gain and an uneven composition look alike at first. So both are tried: no slope,
    and the slope that the sublattices show; then classes and slope are fitted in turn,
    and the likelihood chooses.
    """
    rows = table[known]
    place = (positions(rows), rows["frame"].to_numpy())
    group = kinds(rows)
    unit = float(np.median(rows["intensity"].to_numpy(float)))
    intensity, error, shot = _steadied(rows, group, unit)
    logs = np.where(intensity > 0, np.log(np.maximum(intensity, 1e-300)), np.nan)
    relative = error / np.maximum(np.abs(intensity), 1e-300)
    results: list[tuple[float, Levels]] = []
    for first in _first_fields(logs, relative, place, group):
        field, start = first, None
        for _ in range(_ROUNDS):
            y, e = (values * np.exp(-field) / unit for values in (intensity, error))
            data = Data(y, e, group, int(group.max()) + 1, 1 / float(1.5 * y.max()), shot)
            start = fit_mixture(data, start)
            score = start.log_likelihood - float(field.sum())
            results.append((score, Levels(known, data, start, unit, float(field.std()))))
            before = field
            field = _field_of_classes(logs - np.log(unit), relative, place, data, start)
            if np.abs(field - before).max() < _FLAT:
                break
    return max(results, key=lambda result: result[0])[1]


def _steadied(rows: pd.DataFrame, group: Ints, unit: float) -> tuple[Floats, Floats, float]:
    """Brightness without what the background shows to be an error, and what errors are left.

    Returns:
        Intensities; their errors if all were as bright as `unit`; the share of these squared that
        is the light of an atom itself.
    """
    before = rows["intensity"].to_numpy(float)
    square = rows["intensity_err"].to_numpy(float) ** 2
    shot = growth(before / unit, square)
    plain = square / grown(shot, before / unit)
    intensity, gone = off_ground(rows, group)
    left = np.maximum(plain - gone, np.maximum(_LEFT, shot / LIGHT) * plain)
    shot = float(shot * np.median(plain) / np.median(left))
    at = left * grown(shot, before / unit)
    return intensity, np.sqrt(left) * shown(intensity, np.sqrt(at), group), shot


def kinds(rows: pd.DataFrame) -> Ints:
    """Number sublattices of about the same brightness alike; atoms of none come last."""
    site = rows["sublattice"].fillna(-1).to_numpy(np.int64)
    intensity = rows["intensity"].to_numpy(float)
    sites = np.unique(site[site >= 0])
    parts = [intensity[site == s] for s in sites]
    level = np.array([np.median(part) for part in parts])
    # the error of a median, in units of it
    error = [1.25 * np.std(part) / np.sqrt(len(part)) for part in parts]
    order = np.argsort(level)
    kind = np.zeros(len(sites), dtype=np.int64)
    for before, after in pairwise(order):
        apart = max(_ALIKE * abs(level[before]), 2 * float(np.hypot(error[before], error[after])))
        kind[after] = kind[before] + (level[after] - level[before] > apart)
    last = int(kind.max(initial=-1)) + 1
    lookup = np.full(int(site.max(initial=-1)) + 2, last)  # the last entry is that of -1
    lookup[sites] = kind
    return np.asarray(lookup[site])


Place = tuple[Floats, NDArray[np.int64]]


def _first_fields(logs: Floats, error: Floats, place: Place, group: Ints) -> list[Floats]:
    """No slope; and where it is another one, that of the brightness within the groups."""
    flat = np.zeros(len(logs))
    field, level = flat, np.zeros(int(group.max()) + 1)
    for _ in range(4):
        for g in np.unique(group):
            level[g] = np.nanmedian((logs - field)[group == g])
        field = _field(logs - level[group], error, place)
    return [flat] if field.std() < _STEEP else [flat, field]


def _field_of_classes(
    logs: Floats, error: Floats, place: Place, data: Data, free: Mixture
) -> Floats:
    """Gain that is left when each atom has the mean of its class."""
    share = free.posterior(data)[:, :-1]
    best = share.argmax(axis=1)
    left = logs - np.log(free.mean[best])
    sure = share[np.arange(len(best)), best] > 0.5
    return _field(np.where(sure, left, np.nan), error, place)


def _field(left: Floats, error: Floats, place: Place) -> Floats:
    """Smooth field of each frame through what is known of it; its middle is 0."""
    xy, frame = place
    field = np.zeros(len(left))
    for f in np.unique(frame):
        here = frame == f
        some = here & np.isfinite(left)
        field[here] = gain_field(xy[some], left[some], error[some], xy[here])
    return np.asarray(field - np.median(field))
