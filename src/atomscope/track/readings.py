"""What a reading of a species is worth as evidence for a dopant, learned from the movie itself.

The base is the log ratio of how often a dopant and a host atom are read so, Wald, Ann. Math. Stat.
16, 117 (1945). A misread atom often is one of which the reader was less sure; how much less, is
seen in the movie: readings with about the same stated probability are counted where the dopants
are and elsewhere, and the ratio of their shares is added. Where stated probabilities say nothing,
it is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomscope.track.motion import Bools, Floats, Ints

_DOUBT, _FALSE = (0.01, 0.3), (1e-4, 0.1)  # bounds of the first guesses
_STEPS = (0.003, 0.01, 0.03, 0.1, 0.3)  # of the stated doubt, between which readings are alike
_WORTH = 2.0  # readings that the shares of all atoms count for, before any is seen
_ARBITRARY = 0.01  # share of readings whose stated probability may be anything


@dataclass(frozen=True)
class Readings:
    """K readings of one species, or of another one instead.

    Attributes:
        says: Whether the species was read, shape (K,).
        sure: Stated probability of what was read, shape (K,).
    """

    says: Bools
    sure: Floats

    def first_guess(self) -> Floats:
        """Log-odds of each reading, before it is known where the dopants are, shape (K,)."""
        doubt = float(np.clip(np.mean(1 - self.sure[self.says]), *_DOUBT))
        return self._base(doubt, float(np.clip(np.mean(self.says), *_FALSE)))

    def log_odds(self, here: Bools) -> Floats:
        """Log-odds of each reading, shape (K,).

        Args:
            here: Readings where the dopants seem to be, shape (K,).
        """
        doubt = float((np.sum(here & ~self.says) + 0.5) / (here.sum() + 10.0))
        false = float((np.sum(~here & self.says) + 0.5) / ((~here).sum() + 100.0))
        odds = self._base(doubt, false)
        alike = np.searchsorted(_STEPS, 1 - self.sure)
        for word in (self.says, ~self.says):
            odds[word] += _added(alike[word], here[word])
        return odds

    def _base(self, doubt: float, false: float) -> Floats:
        weight = np.clip(2 * self.sure - 1, 0, 1)
        gain = np.where(self.says, np.log((1 - doubt) / false), -np.log((1 - false) / doubt))
        return np.asarray(weight * gain)


def _added(alike: Ints, here: Bools) -> Floats:
    """Log ratio of the shares of like readings here and elsewhere, shape (K,)."""
    size = len(_STEPS) + 1
    count = np.array([np.bincount(alike[w], minlength=size) for w in (here, ~here)], dtype=float)
    usual = count.sum(axis=0) / max(count.sum(), 1.0)
    share = (count + _WORTH * usual) / (count.sum(axis=1, keepdims=True) + _WORTH)
    share = (1 - _ARBITRARY) * share + _ARBITRARY / size
    return np.asarray(np.log(share[0] / share[1])[alike])
