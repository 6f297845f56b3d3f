"""A dark-field microscope for the test sets, written apart from atomscope's training simulator.

Incoherent imaging: the sum of the columns' weights times the probe, evaluated exactly in Fourier
space (no columns are put on a grid), then shaken line by line, and counted electron by electron.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from baselines import Array, Frame
from specimens import Columns, Probe, World, merge

CROSS_SECTION = 2.5e-5  # Å^2 per Z^1.6: 0.027 Å^2 for Pt, as at 60 to 200 mrad and 200 kV
RESOLVED = 0.85  # of the probe's width: where two equal peaks begin to show a dip (Sparrow)
VISIBLE = 0.18  # of the strongest column within 3 Å: weaker ones are neither asked for nor wrong
LINE_JITTER = 0.02  # Å, sigma of the shift of each scan line


@dataclass(frozen=True)
class View:
    """A noise-free frame: signal per incident electron per Å^2, and what is there.

    Attributes:
        signal: Expected electrons per pixel at 1 e/Å^2, shape (y, x).
        truth: Resolved columns in px, shape (N, 2).
        weight: Scattering cross-section of each in Å^2, shape (N,).
        ignored: Columns too weak to be asked for, in px, shape (M, 2).
        pixel_size: Å.
        width: Full width of the probe at half maximum in Å.
    """

    signal: Array
    truth: Array
    weight: Array
    ignored: Array
    pixel_size: float
    width: float


def transfer(frequency: Array, probe: Probe) -> Array:
    """Fourier transform of the probe's intensity: perfect round aperture, Gaussian source."""
    s = np.clip(frequency * probe.wavelength / (2 * probe.milliradians * 1e-3), 0, 1)
    aperture = 2 / np.pi * (np.arccos(s) - s * np.sqrt(1 - s**2))
    return aperture * np.exp(-2 * (np.pi * probe.blur * frequency) ** 2)


def profile(probe: Probe, radius: Array) -> Array:
    """Intensity of the probe per Å^2 at distances in Å (Hankel transform of the transfer)."""
    from scipy.special import j0

    k = np.linspace(0, 2 * probe.milliradians * 1e-3 / probe.wavelength, 800)
    kernel = 2 * np.pi * k * transfer(k, probe)
    return np.trapezoid(kernel * j0(2 * np.pi * np.asarray(radius)[..., None] * k), k, axis=-1)


def full_width(probe: Probe) -> float:
    """Full width at half maximum of the probe in Å."""
    radius = np.linspace(0, 2, 2001)
    intensity = profile(probe, radius)
    return 2 * float(radius[np.argmax(intensity < intensity[0] / 2)])


def expose(columns: Columns, probe: Probe, size: int, pixel_size: float, seed: int) -> Array:
    """Expected electrons per pixel at 1 e/Å^2, shape (size, size)."""
    rng = np.random.default_rng(seed)
    margin = 4.0
    field = size * pixel_size + 2 * margin
    cutoff = 2 * probe.milliradians * 1e-3 / probe.wavelength
    order = int(np.ceil(cutoff * field))
    k = np.arange(-order, order + 1) / field
    xy = np.concatenate([columns.xy, columns.support_xy]) + margin
    weight = np.concatenate([columns.weight, columns.support_weight]) * CROSS_SECTION
    wave_x = np.exp(-2j * np.pi * np.outer(xy[:, 0], k))
    wave_y = np.exp(-2j * np.pi * np.outer(xy[:, 1], k))
    spectrum = (wave_y * weight[:, None]).T @ wave_x / field**2
    spectrum *= transfer(np.hypot(k[:, None], k[None, :]), probe)
    # Four samples per pixel or more along x, so that a line can be shifted by interpolation.
    along = np.arange(-4, 4 * size + 4) * pixel_size / 4
    lines = np.arange(size) * pixel_size
    to_x = np.exp(2j * np.pi * np.outer(k, along + margin))
    to_y = np.exp(2j * np.pi * np.outer(lines + margin, k))
    fine = (to_y @ (spectrum @ to_x)).real
    shifts = rng.normal(0, LINE_JITTER, size)
    shaken = [
        np.interp(lines + shift, along, line) for line, shift in zip(fine, shifts, strict=True)
    ]
    return np.maximum(shaken, 0.0) * pixel_size**2


def look(world: World, size: int, pixel_size: float, seed: int) -> View:
    """Build a specimen, image it, and keep as truth the columns that the probe resolves."""
    rng = np.random.default_rng(seed)
    columns = world.build(size * pixel_size, rng)
    width = full_width(world.probe)
    signal = expose(columns, world.probe, size, pixel_size, seed + 1)
    xy, weight = merge(columns.xy, columns.weight, RESOLVED * width)
    return view(signal, xy, weight * CROSS_SECTION, pixel_size, width)


def view(signal: Array, xy: Array, weight: Array, pixel_size: float, width: float) -> View:
    """Sort the columns (Å) into those asked for and those too weak, inside the frame."""
    from scipy.spatial import KDTree

    near = KDTree(xy).query_ball_point(xy, 3.0)
    strongest = np.array([weight[i].max() for i in near])
    px = xy / pixel_size
    height, length = signal.shape
    inside = (px >= 0).all(axis=1) & (px[:, 0] <= length - 1) & (px[:, 1] <= height - 1)
    seen = weight >= VISIBLE * strongest
    return View(
        signal, px[inside & seen], weight[inside & seen], px[inside & ~seen], pixel_size, width
    )


def tile(cell: Mapping[str, Array], probe: Probe, size: int, pixel_size: float, seed: int) -> View:
    """A frame of a perfect crystal from one multislice cell (see multislice.py).

    The cell is blurred by the source, refined by Fourier interpolation, repeated, and sampled in a
    random orientation with the same line jitter as the fast model.
    """
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    edges = np.asarray(cell["edges"], float)
    fine, steps = _refine(np.asarray(cell["signal"], float), edges, probe.blur)
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    origin = rng.uniform(0, 1, 2) * edges
    y, x = np.mgrid[:size, :size] * pixel_size
    x = x + rng.normal(0, LINE_JITTER, size)[:, None]
    spots = np.stack([x, y], -1).reshape(-1, 2) @ turn.T + origin
    signal = ndimage.map_coordinates(fine, (spots / steps)[:, ::-1].T, order=3, mode="grid-wrap")
    signal = np.maximum(signal, 0).reshape(size, size) * pixel_size**2
    reach = int(np.ceil(1.5 * size * pixel_size / edges.min())) + 1
    shifts = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T * edges
    xy = ((shifts[:, None] + cell["xy"]).reshape(-1, 2) - origin) @ turn
    weight = np.tile(cell["weight"], len(shifts))
    inside = (np.abs(xy - size * pixel_size / 2) < size * pixel_size / 2 + 4).all(axis=1)
    width = full_width(probe)
    xy, weight = merge(xy[inside], weight[inside], RESOLVED * width)
    # Electrons above the floor of the cell, shared among its columns by weight.
    above = (fine - fine.min()).mean() * edges.prod()
    return view(signal, xy, weight * above / cell["weight"].sum(), pixel_size, width)


def _refine(cell: Array, edges: Array, blur: float) -> tuple[Array, Array]:
    """Periodic image on a grid of about 0.04 Å after a Gaussian blur; the steps (x, y) in Å."""
    height, length = cell.shape
    shape = [
        int(np.ceil(edge / 0.04 / n)) * n for edge, n in zip(edges[::-1], cell.shape, strict=True)
    ]
    k_y, k_x = np.fft.fftfreq(height, edges[1] / height), np.fft.fftfreq(length, edges[0] / length)
    damping = np.exp(-2 * (np.pi * blur) ** 2 * (k_y[:, None] ** 2 + k_x[None, :] ** 2))
    padded = np.zeros(shape, dtype=complex)
    rows = np.fft.fftfreq(height, 1 / height).astype(int)
    columns = np.fft.fftfreq(length, 1 / length).astype(int)
    padded[np.ix_(rows, columns)] = np.fft.fft2(cell) * damping
    fine = np.fft.ifft2(padded).real * (shape[0] * shape[1] / cell.size)
    return fine, edges / np.array(shape[::-1])


def shoot(view: View, name: str, electrons: float, seed: int) -> Frame:
    """A frame with Poisson noise.

    Args:
        view: What to image.
        name: Name of the frame.
        electrons: Mean number of detected electrons per column of the truth; sets the dose.
        seed: For the noise.
    """
    dose = electrons / float(view.weight.mean())
    counts = np.random.default_rng(seed).poisson(view.signal * dose).astype(np.float32)
    spacing = neighbour_distance(view.truth)
    return Frame(
        name=name,
        data=counts,
        truth=view.truth,
        radius=min(0.25 * spacing, 0.4 / view.pixel_size),
        pixel_size=view.pixel_size,
        info={
            "dose": dose,
            "electrons": electrons,
            "ignored": view.ignored,
            "rim": 0.5 * view.width / view.pixel_size,
            "spacing": spacing,
            "weight": view.weight,
        },
    )


def neighbour_distance(xy: Array) -> float:
    """Median distance to the nearest neighbour."""
    from scipy.spatial import KDTree

    return float(np.median(KDTree(xy).query(xy, k=2)[0][:, 1]))


def cramer_rao(view: View, probe: Probe) -> float:
    """Smallest possible RMS error (x and y together) in px at 1 e/Å^2, all columns fitted jointly.

    Poisson Fisher information of intensity, x and y of every column that is asked for, with the
    probe and the rest of the image known. It scales with one over the root of the dose.
    Of many columns the 400 nearest to the middle are fitted, and the 200 nearest are averaged.
    """
    from scipy.sparse import csr_array
    from scipy.spatial import KDTree

    height, length = view.signal.shape
    grid = np.stack(np.meshgrid(np.arange(length), np.arange(height)), -1).reshape(-1, 2)
    reach = 3 * view.width / view.pixel_size
    middle = np.hypot(*(view.truth - [length / 2, height / 2]).T)
    chosen = np.argsort(middle)[:400]
    truth, weight = view.truth[chosen], view.weight[chosen]
    near = KDTree(truth).query_ball_tree(KDTree(grid), reach)
    column = np.repeat(np.arange(len(near)), [len(n) for n in near])
    pixel = np.concatenate([np.asarray(n, dtype=int) for n in near])
    steps = (grid[pixel] - truth[column]) * view.pixel_size
    table = np.linspace(0, reach * view.pixel_size + 0.01, 2000)
    intensity = profile(probe, table)
    slope = np.gradient(intensity, table)
    radius = np.hypot(*steps.T)
    scale = weight[column] * view.pixel_size**2
    radial = -scale * np.interp(radius, table, slope) / np.maximum(radius, 1e-9) * view.pixel_size
    derivatives = np.stack(
        [view.pixel_size**2 * np.interp(radius, table, intensity), radial * steps[:, 0],
         radial * steps[:, 1]],
    )  # fmt: skip
    # A pixel no electron can reach carries no information; the floor avoids a division by zero.
    noise = np.sqrt(np.maximum(view.signal.ravel()[pixel], 1e-6 * view.signal.mean()))
    n = len(near)
    jacobian = csr_array(
        (
            (derivatives / noise).ravel(),
            (np.tile(pixel, 3), np.concatenate([column, column + n, column + 2 * n])),
        ),
        shape=(len(grid), 3 * n),
    )
    fisher = (jacobian.T @ jacobian).toarray()
    variance = np.diag(np.linalg.pinv(fisher, hermitian=True))
    return float(np.sqrt((variance[n : 2 * n] + variance[2 * n :])[:200].mean()))
