"""Small classes: atoms that fit no class of brightness, gathered by what they have in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from atomscope.species.mixture import Data, Floats, Ints, Mixture, reweighted

SEEN = 3.0  # standard errors: an atom with less may be none, and speaks for no element
FEW = 0.02  # share of the atoms that makes a class of the host
_CHANCE = 0.02  # that chance puts an atom of a small class beyond its rim
_APART = 2.5  # standard deviations between neighbours of two classes
_MOST = 4  # such classes; more are no strays
STRANGE = 0.02  # least relative spread: each stands in another surrounding


def odd_ones(data: Data, mixture: Mixture) -> Data:
    """Return the atoms that are of none of the classes, or at the rim of a small one.

    Among the many atoms of a host some lie far out by chance; among a few foreign ones none does.
    """
    share = mixture.posterior(data)
    best = share.argmax(axis=1)
    square = np.concatenate([mixture.distance(data)[0], np.full((len(best), 1), np.inf)], axis=1)
    small = np.append(share[:, :-1].mean(axis=0) < FEW, True)
    members = np.bincount(best, minlength=share.shape[1]).clip(1)
    rim = ndtri(1 - _CHANCE / (2 * members))  # the farthest of many lies farther out than one
    odd = small[best] & (square[np.arange(len(best)), best] > rim[best] ** 2)
    return data.take(odd & (data.y > SEEN * data.error))


def with_strays(data: Data, free: Mixture) -> tuple[Mixture, Ints, Data]:
    """Add a class for each set of odd atoms of about the same brightness.

    The few foreign atoms of a frame are too rare to be classes of the mixture. Together, in order
    of their brightness, they still tell which element each of them is.

    Returns:
        All classes, ascending; where among them those given are, shape (K,); the odd atoms.
    """
    few = free.posterior(data)[:, :-1].mean(axis=0) < FEW
    wide = np.maximum(free.spread, STRANGE)
    free = replace(free, spread=np.where(few, wide, free.spread))
    odd = odd_ones(data, free)
    own = np.arange(len(free.mean))
    if len(odd.y) == 0 or len(free.mean) == 0:
        return free, own, odd
    spread = float(wide.max())
    means = [float(np.average(y, weights=w)) for y, w in _sets(odd, spread)]
    if len(means) > _MOST:
        return free, own, odd
    mean = np.concatenate([free.mean, means])
    order = np.argsort(mean, kind="stable")
    small = np.full((data.groups, len(means)), 1 / len(data.y))
    weight = np.concatenate([free.weight[:, :-1], small], axis=1)[:, order]
    weight = np.concatenate([weight, free.weight[:, -1:]], axis=1)
    weight /= weight.sum(axis=1, keepdims=True)
    wide = np.concatenate([free.spread, np.full(len(means), spread)])[order]
    found = replace(free, mean=mean[order], spread=wide, weight=weight)
    return reweighted(data, found), np.argsort(order)[own], odd


def _sets(odd: Data, spread: float) -> list[tuple[Floats, Floats]]:
    """Brightness and weight of the atoms of each set, ascending."""
    order = np.argsort(odd.y, kind="stable")
    y, error = odd.y[order], np.sqrt(odd.square(odd.y) + (spread * odd.y) ** 2)[order]
    apart = np.diff(y) > _APART * np.hypot(error[1:], error[:-1])
    cuts = np.flatnonzero(apart) + 1
    return list(zip(np.split(y, cuts), np.split(error**-2, cuts), strict=True))
