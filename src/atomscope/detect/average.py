"""A lattice seen through the noise: what repeats is kept, the rest is shown faintly.

At a few electrons per column no column stands out, but a lattice does: its energy lies in a few
peaks of the spectrum, far above the noise. Each window keeps its own peaks, so that grains, strain
and distorted scans come out as they are (the Bragg filter of the field, here with a threshold);
how strong the lattice is, is then read from the frame place by place, so that it ends where the
crystal does. What does not repeat is damped as Wiener's filter would do it, not taken away: with
enough electrons a vacancy still shows.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Frame = NDArray[np.float32]
Ints = NDArray[np.intp]

EDGE = 256  # px of a window, or ALONG spacings where these are longer
ALONG = 14
LONGEST = 1024  # px of a window
RIM = 40  # px beyond the frame, so that its border lies inside of windows
CERTAIN = 14.0  # times the noise of its ring: noise alone passes once in a million
FOOT = 2.0  # times it: what stands beside such a peak belongs to it
LEAST = 0.15  # of what does not repeat is always shown
NEAR = 1.5  # spacings over which the strength of the lattice is averaged
BRIGHTEST = 99.9  # percentile: brighter pixels are cut off
FINEST, COARSEST = 1 / 2.3, 1 / 96  # cycles per px that a lattice may have
STRIPED = 0.1  # ratio of the changes along two axes below which a pattern is stripes
RINGS = 64  # of the spectrum
AXIS = 3  # waves to each side of an axis of it


def averaged(frame: Frame, spacing: float) -> Frame:
    """Return a frame whose lattice stands out of the noise; its mean is zero.

    Args:
        frame: Finite values, shape (y, x).
        spacing: Distance of columns in px.
    """
    values = _centred(frame)
    lattice = _repeating(values, spacing)
    return np.asarray(lattice + _damped(values - lattice), dtype=np.float32)


def _repeating(values: Frame, spacing: float) -> Frame:
    """Return the part of a frame that repeats, as strong as it is in each place."""
    lattice = _windowed(values, int(np.clip(ALONG * spacing, EDGE, LONGEST)) // 2 * 2)
    return np.asarray(lattice * _strength(values, lattice, spacing), dtype=np.float32)


def is_striped(frame: Frame, spacing: float) -> bool:
    """Tell stripes from a lattice: all that repeats in them changes in one direction."""
    down, right = (part.ravel() for part in np.gradient(_repeating(_centred(frame), spacing)))
    tensor = np.array([[right @ right, right @ down], [right @ down, down @ down]], dtype=float)
    weaker, stronger = np.linalg.eigvalsh(tensor)
    return bool(weaker < STRIPED * stronger)


def _centred(frame: Frame) -> Frame:
    values = np.minimum(frame, np.float32(np.percentile(frame, BRIGHTEST)))
    return np.asarray(values - values.mean(), dtype=np.float32)


def _windowed(values: Frame, edge: int) -> Frame:
    """Sum of the lattices of windows that overlap by half."""
    padded = np.pad(values, RIM)
    total = np.zeros(padded.shape, np.float32)
    weight = np.full(padded.shape, 1e-3, np.float32)
    for y in _starts(padded.shape[0], edge):
        for x in _starts(padded.shape[1], edge):
            part = np.s_[y : y + edge, x : x + edge]
            edges = [np.sqrt(np.hanning(n + 2)[1:-1]) for n in padded[part].shape]
            taper = np.asarray(edges[0][:, None] * edges[1], dtype=np.float32)
            total[part] += _peaks(padded[part] * taper) * taper
            weight[part] += taper * taper
    return (total / weight)[RIM:-RIM, RIM:-RIM]


def _starts(length: int, edge: int) -> Ints:
    if length <= edge:
        return np.zeros(1, np.intp)
    count = int(np.ceil(2 * (length - edge) / edge)) + 1
    return np.linspace(0, length - edge, count).astype(np.intp)


def _peaks(window: Frame) -> Frame:
    """Keep the peaks of the spectrum that stand out of their ring."""
    spectrum = fft.rfft2(window)
    power = np.square(np.abs(spectrum))
    ring, usable = _rings(*window.shape)
    noise = _with_lines(_noise(power, ring)[ring], power)
    certain = (power > CERTAIN * noise) & usable
    kept = ndimage.binary_dilation(certain, np.ones((3, 3))) & (power > FOOT * noise) & usable
    gain = np.where(kept, 1 - noise / np.maximum(power, 1e-30), 0)
    return np.asarray(fft.irfft2(spectrum * gain, window.shape), dtype=np.float32)


@lru_cache(maxsize=4)
def _rings(height: int, width: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Number of the ring of each wave of the half plane, and whether a lattice may have it."""
    wave = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width))
    usable = (wave > COARSEST) & (wave < FINEST)
    return np.minimum((2 * RINGS * wave).astype(np.intp), RINGS), usable


def _noise(power: NDArray[np.floating], ring: Ints) -> NDArray[np.float64]:
    """Mean power (RINGS + 1,) of what does not repeat: exponential, so its median / ln 2."""
    order = np.argsort(ring.ravel(), kind="stable")
    parts = np.split(power.ravel()[order], np.cumsum(np.bincount(ring.ravel()))[:-1])
    means = [np.median(part) / np.log(2) if len(part) else np.inf for part in parts]
    return np.pad(means, (0, RINGS + 1 - len(means)), constant_values=np.inf)


def _with_lines(noise: NDArray[np.floating], power: NDArray[np.floating]) -> NDArray[np.floating]:
    """Raise the noise where errors from line to line live: near both axes of the spectrum."""
    noise = noise.copy()
    for lines in (np.s_[:, :AXIS], np.s_[:AXIS], np.s_[-AXIS:]):
        noise[lines] = np.maximum(noise[lines], np.median(power[lines]) / np.log(2))
    return noise


def _strength(values: Frame, lattice: Frame, spacing: float) -> Frame:
    """How much of the lattice is there, place by place: from 0 to 1.2."""
    sharp = values - ndimage.gaussian_filter(values, 2 * spacing)
    shared = ndimage.gaussian_filter(sharp * lattice, NEAR * spacing)
    own = ndimage.gaussian_filter(lattice * lattice, NEAR * spacing)
    share = shared / np.maximum(own, 1e-6 * float(own.max()) + 1e-30)
    return np.asarray(np.clip(share, 0, 1.2), dtype=np.float32)


def _damped(rest: Frame) -> Frame:
    """Show waves by the share of their power that is above that of white noise."""
    shape = (rest.shape[0] + rest.shape[0] % 2, rest.shape[1] + rest.shape[1] % 2)
    even = np.pad(rest, [(0, n - m) for n, m in zip(shape, rest.shape, strict=True)], mode="edge")
    spectrum = fft.rfft2(even)
    ring, _ = _rings(*shape)
    power = _noise(np.square(np.abs(spectrum)), ring)
    fine = ndimage.uniform_filter1d(power[RINGS * 5 // 8 : -1], 5)
    white = float(fine[np.isfinite(fine)].min()) if np.isfinite(fine).any() else 0.0
    gain = np.clip(1 - white / np.maximum(power, 1e-30), LEAST, 1)
    gain[:2] = 1  # the slow background
    shown = fft.irfft2(spectrum * gain[ring], shape)
    return np.asarray(shown[: rest.shape[0], : rest.shape[1]], dtype=np.float32)
