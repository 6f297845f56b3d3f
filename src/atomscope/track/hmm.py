"""Real switches told from misread frames: a hidden Markov chain fitted to the readings.

Forward-backward and Baum-Welch (Rabiner, Proc. IEEE 77, 257 (1989)): the chances of the switches
and the share of misread frames are estimated from the movie itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomscope.track.motion import Floats, Ints

_ROUNDS = 30
_SETTLED = 1e-3  # relative change of the log-likelihood at which the fit ends
_WEIGHT = 20.0  # readings that the stated share of misread frames counts for
_CHANGES = 0.5  # switches that are assumed to have been seen from each state
_PROOF = 5.0  # log of the likelihood ratio that shows that there are switches at all
_LEAST = 1e-3  # smallest share of misread frames


@dataclass(frozen=True)
class Chain:
    """A smoothed sequence of states.

    Attributes:
        state: Likeliest state in each frame, shape (T,).
        posterior: Of each state in each frame, shape (T, K).
        changes: Expected number of steps from state to state, shape (K, K).
        error: Share of misread frames.
    """

    state: Ints
    posterior: Floats
    changes: Floats
    error: float


def smooth(reading: Ints, doubt: Floats, states: int, *, fixed: bool = False) -> Chain:
    """Fit a chain to readings.

    Args:
        reading: State as read in each frame, -1 where nothing was read, shape (T,).
        doubt: Stated chance that the reading is wrong, shape (T,).
        states: Number of states K.
        fixed: Take the stated chances as they are.

    Returns:
        The chain; with one state, or no reading, it stays where it is.
    """
    known = reading >= 0
    length = len(reading)
    if states < 2 or not known.any():
        return Chain(np.zeros(length, np.int64), np.ones((length, 1)), np.zeros((1, 1)), 0.0)
    stated = float(np.clip(doubt[known].mean(), _LEAST, 0.4))
    error, relative = stated, np.clip(doubt / stated, 0.1, 10.0)
    rate = _CHANGES / length
    change = np.full((states, states), rate / (states - 1))
    np.fill_diagonal(change, 1 - rate)
    before = likelihood = -np.inf
    posterior, pairs = np.empty((length, states)), np.zeros((states, states))
    for _ in range(_ROUNDS):
        emission = _emission(reading, np.clip(error * relative, _LEAST, 0.49), states)
        posterior, pairs, likelihood = _expect(emission, change)
        right = posterior[known, reading[known]].sum()
        if not fixed:
            wrong = known.sum() - right
            error = float((wrong + _WEIGHT * stated) / (known.sum() + _WEIGHT))
        prior = np.full((states, states), _CHANGES / (states - 1))
        np.fill_diagonal(prior, 0.0)
        change = pairs + prior + np.eye(states)
        change /= change.sum(axis=1, keepdims=True)
        if abs(likelihood - before) < _SETTLED * max(1.0, abs(likelihood) * 0.01):
            break
        before = likelihood
    if likelihood < _constant(reading[known], states) + _PROOF:
        return _unchanging(reading, states)
    path = _likeliest(_emission(reading, np.clip(error * relative, _LEAST, 0.49), states), change)
    return Chain(path, posterior, pairs, error)


def _likeliest(emission: Floats, change: Floats) -> Ints:
    """Viterbi path, shape (T,)."""
    seen, step = np.log(emission), np.log(change)
    back = np.zeros(seen.shape, dtype=np.int64)
    score = seen[0]
    for t in range(1, len(seen)):
        every = score[:, None] + step
        back[t] = every.argmax(axis=0)
        score = every.max(axis=0) + seen[t]
    path = np.full(len(seen), int(score.argmax()))
    for t in range(len(seen) - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path


def _constant(reading: Ints, states: int) -> float:
    """Log-likelihood if the state never changed and all other readings were wrong."""
    count = np.bincount(reading, minlength=states)
    wrong = count.sum() - count.max()
    error = float(np.clip(wrong / count.sum(), _LEAST, 0.49))
    right = float(count.max()) * np.log(1 - error)
    return float(right + wrong * np.log(error / (states - 1)) - np.log(states))


def _unchanging(reading: Ints, states: int) -> Chain:
    count = np.bincount(reading[reading >= 0], minlength=states)
    top = int(count.argmax())
    posterior = np.zeros((len(reading), states))
    posterior[:, top] = 1.0
    error = 1 - float(count[top] / count.sum())
    return Chain(np.full(len(reading), top), posterior, np.zeros((states, states)), error)


def _emission(reading: Ints, error: Floats, states: int) -> Floats:
    """Chance of each reading in each state, shape (T, K); 1 where nothing was read."""
    same = reading[:, None] == np.arange(states)
    value = np.where(same, 1 - error[:, None], error[:, None] / (states - 1))
    return np.where(reading[:, None] >= 0, value, 1.0)


def _expect(emission: Floats, change: Floats) -> tuple[Floats, Floats, float]:
    """Posterior (T, K), expected steps (K, K), log-likelihood."""
    length, states = emission.shape
    forward, backward = np.empty((length, states)), np.ones((length, states))
    scale = np.empty(length)
    state = np.full(states, 1 / states)
    for t in range(length):
        state = (state if t == 0 else state @ change) * emission[t]
        scale[t] = state.sum()
        state = state / scale[t]
        forward[t] = state
    for t in range(length - 2, -1, -1):
        backward[t] = change @ (emission[t + 1] * backward[t + 1]) / scale[t + 1]
    later = emission[1:] * backward[1:] / scale[1:, None]
    pairs = change * (forward[:-1].T @ later)
    posterior = forward * backward
    posterior /= posterior.sum(axis=1, keepdims=True)
    return posterior, np.asarray(pairs), float(np.log(scale).sum())
