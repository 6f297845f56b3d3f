"""The column spacing of a frame, found from the frame itself.

The autocorrelation of a micrograph has a peak at the origin, as wide as the columns,
and, in a crystal, peaks at the vectors between columns. The first ring gives the
spacing, the central peak the width. Noise sits at the origin alone and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from atomscope.sampling import block_means, resample

Frame = NDArray[np.float32]

FIELD = 384  # px: a larger frame is judged by several windows of this edge
SIGNIFICANT = 5.5  # standard deviations: the highest of 10^4 lags of noise stays below
REACH = 96  # px: spacings beyond are no columns of this frame
CORNER, FEW_COUNTS = 128, 1024  # px: what is looked at for repeated pixels, and where few count
CHANGES = 10  # from row to row, whose places have no common step by chance (one in 2^10)
SMOOTH = 0.12  # power of the finest waves over that of waves twice as long, in smooth noise
STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # larger pixels that are tried in smooth noise
LEAST_SPACING = 2.3  # px: below, neighbouring columns fall on neighbouring pixels
FINE = 5.0  # px: below, columns are hardly wider than a pixel
STANDS_OUT = 60.0  # times the mean power: the strongest of 10^5 waves of noise has 12


@dataclass(frozen=True)
class Scale:
    """What a frame says about its own sampling; lengths in px of the frame.

    Attributes:
        spacing: Shortest repeat distance of the texture, or None where none stands out.
        too_fine: True where the strongest repeat is shorter than LEAST_SPACING.
        order: Height of the autocorrelation at that distance, 0 to 1.
        sigma: Width of the texture's grain as the standard deviation of an isolated
            Gaussian column (in a dense lattice it comes out smaller), or None where
            the frame is noise to the last pixel.
        signal: Share of the variance between pixels that is texture, not noise.
        times: How often each pixel stands along both axes, see `enlarged`.
        smooth: True where even the noise spreads over several pixels, as in a picture that was
            smoothed or enlarged by interpolation: then `sigma` may be that of the noise.
    """

    spacing: float | None
    order: float
    sigma: float | None
    too_fine: bool = False
    signal: float = 1.0
    times: int = 1
    smooth: bool = False


def measure(frame: Frame) -> Scale:
    """Measure spacing and width of the columns of a frame.

    Args:
        frame: Finite values, shape (y, x).

    Returns:
        The scale; all None for a constant or tiny frame.
    """
    if min(frame.shape) < 16 or float(frame.max()) == float(frame.min()):
        return Scale(None, 0.0, None)
    times = enlarged(frame)
    if times > 1:
        found = measure(frame[times // 2 :: times, times // 2 :: times])
        spacing, sigma = (None if n is None else n * times for n in (found.spacing, found.sigma))
        return replace(found, spacing=spacing, sigma=sigma, times=times)
    power = _power(frame)
    finest = _strongest_wave(power)
    if finest < LEAST_SPACING:
        return Scale(None, 0.0, None, too_fine=True)
    total = fft.irfft2(power, (power.shape[0], 2 * (power.shape[1] - 1)))
    chance = SIGNIFICANT * np.sqrt(2 / (total.size * len(_windows(frame))))
    found = _read(total / total[0, 0], float(chance))
    if found.spacing is None and finest < FINE:
        return _finer(frame)
    return replace(found, smooth=_is_smooth(power))


def _finer(frame: Frame) -> Scale:
    """Measure with pixels half as large: columns of hardly a pixel look like noise of pixels."""
    found = measure(resample(frame, 2))
    spacing, sigma = (None if n is None else n / 2 for n in (found.spacing, found.sigma))
    return replace(found, spacing=spacing, sigma=sigma, smooth=False)


def enlarged(frame: Frame) -> int:
    """Return how often each pixel stands along both axes: 1, or more in an enlarged picture.

    Where few electrons were counted rows next to each other may be alike by chance: then all
    steps from change to change are multiples of that number.
    """
    times = set()
    for values in (frame, frame.T):
        steps = _steps(values[:CORNER, :CORNER])
        if len(steps) < CHANGES:
            steps = _steps(values[:FEW_COUNTS, :FEW_COUNTS])
        sure = len(np.unique(steps)) == 1 or len(steps) >= CHANGES
        times.add(int(np.gcd.reduce(steps)) if sure else 1)
    return times.pop() if len(times) == 1 else 1


def _steps(values: Frame) -> NDArray[np.int64]:
    """Numbers of rows from one change between neighbouring rows to the next."""
    changed = (values[1:] != values[:-1]).any(axis=1)
    return np.asarray(np.diff(np.flatnonzero(changed)))


def beyond_noise(frame: Frame, scale: Scale) -> float | None:
    """Width of the grain in px if what `scale` took for it were noise, in a smooth picture.

    With larger pixels, noise is one of single pixels again and left out: the width grows fast
    until then, and slower after that.

    Args:
        frame: Finite values, shape (y, x), without a lattice.
        scale: What `measure` says of it.
    """
    width: dict[float, float] = {}
    for step in sorted({*STEPS, *(2 * step for step in STEPS)}):
        found = measure(resample(frame, 1 / step)).sigma if step > 1 else scale.sigma
        width[step] = np.nan if found is None else found * step
    grows = [width[2 * step] / width[step] for step in STEPS]
    slowest = (k for k in range(1, len(grows) - 1) if grows[k - 1] > grows[k] <= grows[k + 1])
    known = [k for k, grown in enumerate(grows) if np.isfinite(grown)]
    return width[STEPS[next(slowest, known[-1])]] if known else scale.sigma


def _windows(frame: Frame) -> list[Frame]:
    """Cut up to three windows of even sides along the frame's diagonal."""
    height, width = (min(n, FIELD) // 2 * 2 for n in frame.shape)
    free = [n - m for n, m in zip(frame.shape, (height, width), strict=True)]
    shares = (0.5,) if max(free) < 64 else (0.1, 0.5, 0.9)
    corners = [(int(free[0] * a), int(free[1] * a)) for a in shares]
    return [frame[y : y + height, x : x + width] for y, x in corners]


def _power(frame: Frame) -> Frame:
    """Return the mean power spectrum (half plane) of a few windows, each with the same say."""
    total: Frame | None = None
    for window in _windows(frame):
        values = np.asarray(window - window.mean(), dtype=np.float32)
        values -= _slow(values)
        limit = 4 * float(values.std()) or 1.0
        values = np.clip(values, -limit, limit)  # a few heavy atoms must not decide
        edge = [np.sqrt(np.hanning(n + 2)[1:-1]).astype(np.float32) for n in values.shape]
        values *= edge[0][:, None] * edge[1]
        part: Frame = np.square(np.abs(fft.rfft2(values)))
        part = part / (float(part.sum()) or 1.0)
        total = part if total is None else total + part
    assert total is not None
    return total


def _strongest_wave(power: Frame) -> float:
    """Length in px of the strongest wave of the spectrum, infinite where none stands out."""
    wave_y, wave_x = fft.fftfreq(power.shape[0]), np.linspace(0, 0.5, power.shape[1])
    inner = power[:, 1:-1]  # errors from line to line live on the border columns
    row, col = np.unravel_index(int(np.argmax(inner)), inner.shape)
    if float(inner[row, col]) <= STANDS_OUT * float(inner.mean()):
        return np.inf
    return float(1 / np.hypot(wave_y[row], wave_x[col + 1]))


def _is_smooth(power: Frame) -> bool:
    """Tell whether the finest waves hold far less than waves twice as long, unlike noise of pixels.

    Pixels interpolated to 1.5 to 4 times as many have 0.1 or less, smoothed ones (0.7 px on)
    0.1 or less, noise of electrons counted pixel by pixel 1.
    """
    wave = np.hypot(fft.fftfreq(power.shape[0])[:, None], np.linspace(0, 0.5, power.shape[1]))
    finest, finer = (power[(wave >= a) & (wave < b)].mean() for a, b in ((0.4, 0.5), (0.2, 0.3)))
    return bool(finest < SMOOTH * finer)


def _slow(values: Frame) -> Frame:
    """Background: the frame at a thirtieth of its detail."""
    sigma = max(6.0, min(values.shape) / 30)
    step = int(max(1, sigma // 3))
    small = values[: len(values) // step * step, : values.shape[1] // step * step]
    small = ndimage.gaussian_filter(block_means(small, step), sigma / step)
    whole = resample(small, step)
    missing = [(0, n - m) for n, m in zip(values.shape, whole.shape, strict=True)]
    return np.pad(whole, missing, mode="edge")


def _read(total: NDArray[Any], chance: float) -> Scale:
    """Read spacing and width from an autocorrelation with its origin in the corner.

    What is not higher than `chance` is noise: white noise alone has an autocorrelation of
    1/sqrt(N) rms everywhere.
    """
    reach = min(min(total.shape) // 2 - 2, REACH)
    step = np.arange(-reach, reach + 1)
    around = total[np.ix_(step, step)].astype(np.float64)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(y, x)
    # Line noise lives on the row through the origin: it takes no part.
    usable = (np.abs(y) > 0) | (distance > reach)
    profile = _radial(around, distance, usable, reach)
    origin = _origin(profile)
    if origin <= chance:
        return Scale(None, 0.0, None, signal=max(0.0, origin))
    sigma = _width(profile, origin)
    spacing, order = _first_ring(around / origin, distance, profile / origin, chance / origin)
    if order * origin <= chance:
        return Scale(None, 0.0, sigma, signal=origin)
    return Scale(spacing, order, sigma, signal=origin)


def _radial(
    around: NDArray[np.float64],
    distance: NDArray[np.float64],
    usable: NDArray[np.bool_],
    reach: int,
) -> NDArray[np.float64]:
    """Mean over rings of one px."""
    ring = np.rint(distance).astype(int)
    inside = (ring <= reach) & usable
    total = np.bincount(ring[inside], around[inside], reach + 1)
    count = np.bincount(ring[inside], minlength=reach + 1)
    return np.asarray(total / np.maximum(count, 1))


def _origin(profile: NDArray[np.float64]) -> float:
    """Height of the central peak without the noise, from rings 1 to 2 (a parabola in r)."""
    return float(profile[1] + (profile[1] - profile[2]) / 3)


def _width(profile: NDArray[np.float64], origin: float) -> float | None:
    """Grain as a Gaussian's sigma: the autocorrelation of such columns falls as exp(-r²/4σ²)."""
    level = profile / origin
    below = np.flatnonzero(level[1:] < np.exp(-0.5)) + 1
    if len(below) == 0:
        return None
    r = int(below[0])
    before = 1.0 if r == 1 else float(level[r - 1])
    exact = r - 1 + (before - np.exp(-0.5)) / max(before - float(level[r]), 1e-9)
    return float(max(exact, 0.5) / np.sqrt(2))


def _first_ring(
    around: NDArray[np.float64],
    distance: NDArray[np.float64],
    profile: NDArray[np.float64],
    chance: float,
) -> tuple[float | None, float]:
    """Find the nearest peak of the plane that rises well out of the valley around the origin.

    By more than `chance`: noise has peaks of its own on the slope around the origin.
    """
    smooth = ndimage.gaussian_filter(around, 0.7)
    falling = np.flatnonzero(np.diff(profile[1:]) > 0)
    start = float(falling[0] + 1) if len(falling) else 2.0
    top = ndimage.maximum_filter(smooth, size=3) == smooth
    top &= (distance > max(1.6, 0.7 * start)) & (distance < distance[0].min() - 1)
    rows, cols = np.nonzero(top)
    if len(rows) == 0:
        return None, 0.0
    height, radius = smooth[rows, cols], distance[rows, cols]
    floor = max(0.05, 0.45 * float(height.max()))
    valley = np.minimum.accumulate(profile[1:])[radius.astype(int).clip(1, len(profile) - 1) - 1]
    good = (height > floor) & (height > valley + chance)
    if not good.any():
        return None, 0.0
    nearest = int(np.flatnonzero(good)[np.argmin(radius[good])])
    refined = _peak(smooth, int(rows[nearest]), int(cols[nearest]))
    centre = (np.array(smooth.shape) - 1) / 2
    return float(np.hypot(*(refined - centre))), float(min(height[nearest], 1.0))


def _peak(plane: NDArray[np.float64], row: int, col: int) -> NDArray[np.float64]:
    """Vertex of the parabolas through a maximum and its neighbours along y and x."""
    place = [float(row), float(col)]
    for axis, step in enumerate(((1, 0), (0, 1))):
        before, after = plane[row - step[0], col - step[1]], plane[row + step[0], col + step[1]]
        bend = before - 2 * plane[row, col] + after
        if bend < 0:
            place[axis] += float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5))
    return np.array(place)
