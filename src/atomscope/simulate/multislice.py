"""Images of structures by multislice or PRISM, with abTEM (GPL-3; the extra `simulate`).

abTEM: Madsen & Susi, Open Res. Europe 1, 24 (2021). Its arrays are (x, y) with y up, as in the
structure; here they become (y, x) with y down, so that a structure and the picture of it have the
same handedness when the structure is drawn with y up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import MissingExtraError, UsageError
from atomscope.simulate.imaging import Frame
from atomscope.simulate.scene import Floats

if TYPE_CHECKING:
    from ase import Atoms

ROOM = 12.0  # Å: least edge of the field in which a probe spreads
SLICE = 2.0  # Å
FWHM = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian, in standard deviations


@dataclass(frozen=True)
class Microscope:
    """A focused probe and annular detectors.

    Attributes:
        energy: Of the electrons, eV.
        semiangle: Of convergence, mrad.
        defocus: Å, above 0 for underfocus; 0 puts the focus on the entrance surface.
        detectors: Inner and outer angle in mrad by name; by default those of `annuli`.
    """

    energy: float = 80e3
    semiangle: float = 30.0
    defocus: float = 0.0
    detectors: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no microscope is."""
        if not 1e4 <= self.energy <= 2e6:
            raise UsageError(f"energy {self.energy:g} eV: expected 1e4 to 2e6.")
        if not 1 <= self.semiangle <= 100:
            raise UsageError(f"semiangle {self.semiangle:g} mrad: expected 1 to 100.")
        for name, (inner, outer) in self.annuli.items():
            if not 0 <= inner < outer <= 600:
                raise UsageError(f"detector {name} {inner:g}-{outer:g} mrad: expected 0 to 600.")

    @property
    def annuli(self) -> dict[str, tuple[float, float]]:
        """Detectors in use: those given, or four usual ones in units of the semi-angle.

        BF 0 to ½, ABF ½ to 1 (Findlay et al., Ultramicroscopy 110, 903 (2010)), MAADF 1½ to 3,
        HAADF 3 to 6.
        """
        usual = {"BF": (0.0, 0.5), "ABF": (0.5, 1.0), "MAADF": (1.5, 3.0), "HAADF": (3.0, 6.0)}
        scaled = {name: (a * self.semiangle, b * self.semiangle) for name, (a, b) in usual.items()}
        return dict(self.detectors) or scaled

    @property
    def wavelength(self) -> float:
        """Relativistic wavelength in Å."""
        return float(12.2643 / np.sqrt(self.energy + 0.97845e-6 * self.energy**2))

    @property
    def step(self) -> float:
        """Scan step in Å, finer than half the finest detail λ / 2α of an incoherent image."""
        return 0.45 * self.wavelength / (2e-3 * self.semiangle)

    @property
    def sampling(self) -> float:
        """Sampling of the potential in Å that keeps two thirds of the band for all detectors."""
        outer = max([outer for _, outer in self.annuli.values()] + [self.semiangle])
        return 0.95 * self.wavelength / (3e-3 * outer)


@dataclass(frozen=True)
class Scan:
    """Noise-free images of one periodic cell.

    Attributes:
        signals: Share of the beam on each detector, shape (n, m), y down, first row at y = 0.
        edges: Width and height of the cell in Å.
    """

    signals: Mapping[str, NDArray[np.float32]]
    edges: tuple[float, float]

    def image(
        self,
        detector: str,
        pixel_size: float | tuple[float, float],
        shape: tuple[int, int],
        *,
        origin: tuple[float, float] = (0.0, 0.0),
        source: float = 0.0,
    ) -> Frame:
        """Sample an image; the cell repeats itself, and the sum of its Fourier series is exact.

        Args:
            detector: Name of the detector.
            pixel_size: Å, one or (y, x).
            shape: (height, width) in px.
            origin: Place (x, y) in Å of the centre of the first pixel, y down.
            source: Full width at half maximum of the source on the specimen, Å.

        Returns:
            Frame (y, x).
        """
        signal = self.signals[detector]
        series = np.fft.fft2(signal) / signal.size
        sides = zip(
            signal.shape,
            self.edges[::-1],
            np.broadcast_to(pixel_size, 2),
            shape,
            origin[::-1],
            strict=True,
        )
        waves = []
        for count, edge, pixel, length, start in sides:
            k = np.fft.fftfreq(count, edge / count)
            at = start + pixel * np.arange(length)
            blur = np.exp(-2 * (np.pi * k * source / FWHM) ** 2)
            waves.append(blur * np.exp(2j * np.pi * at[:, None] * k))
        return np.asarray((waves[0] @ series @ waves[1].T).real, dtype=np.float32)

    def places(
        self,
        xy: Floats,
        pixel_size: float | tuple[float, float],
        shape: tuple[int, int],
        *,
        origin: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[Floats, NDArray[np.intp]]:
        """Where things of the structure are in such an image, with all their repetitions.

        Args:
            xy: Positions (N, 2) in Å, y up, as in the structure.
            pixel_size: As for `image`.
            shape: As for `image`.
            origin: As for `image`.

        Returns:
            Positions (M, 2) in px, y down, inside the frame, and the index (M,) of each in `xy`.
        """
        pixel = np.broadcast_to(pixel_size, 2)[::-1]
        edges, size = np.array(self.edges), np.array(shape[::-1])
        home = np.mod(xy * [1, -1] - np.array(origin) + pixel / 2, edges) - pixel / 2
        turns = np.ceil(size * pixel / edges).astype(int)
        steps = np.stack(np.meshgrid(*map(np.arange, turns), indexing="ij"), -1).reshape(-1, 1, 2)
        every = ((home + steps * edges) / pixel).reshape(-1, 2)
        inside = np.all(every < size - 0.5, axis=1)
        return every[inside], np.tile(np.arange(len(xy)), len(steps))[inside]


def scan(
    atoms: Atoms,
    microscope: Microscope | None = None,
    *,
    method: Literal["multislice", "prism"] = "multislice",
    interpolation: int = 1,
    phonons: int = 0,
    vibration: float = 0.08,
    seed: int = 0,
) -> Scan:
    """Scan one periodic cell; around it stand as many copies as the probe needs.

    Args:
        atoms: Orthogonal cell, periodic in x and y; the beam runs along z.
        microscope: Probe and detectors.
        method: Multislice, one probe after the other, or PRISM, from plane waves (Ophus, Adv.
            Struct. Chem. Imaging 3, 13 (2017)), which is faster for large cells.
        interpolation: Of PRISM: every how many plane waves are computed along each axis. The
            probe then sees the field's edge divided by this, at least ROOM.
        phonons: Frozen phonon configurations to average over; 0 for atoms at rest.
        vibration: Root mean square displacement along each axis in Å.
        seed: Of the displacements.

    Raises:
        MissingExtraError: abTEM is not installed.
        UsageError: The cell has no right angles or no atoms.
    """
    microscope = microscope or Microscope()
    abtem = need_abtem()
    edges = _edges(atoms)
    room = ROOM * (interpolation if method == "prism" else 1)
    repeat = [int(np.ceil(room / edge - 1e-6)) for edge in edges]
    field_of_view = atoms.repeat((*repeat, 1))
    field_of_view.pbc = True
    specimen = field_of_view
    if phonons:
        specimen = abtem.FrozenPhonons(
            field_of_view, num_configs=phonons, sigmas=vibration, seed=seed
        )
    potential = abtem.Potential(
        specimen,
        gpts=_points(field_of_view, microscope.sampling, interpolation),
        slice_thickness=SLICE,
    )
    points = tuple(int(np.ceil(edge / microscope.step)) for edge in edges)
    grid = abtem.GridScan(start=(0, 0), end=edges, gpts=points, endpoint=False)
    annuli = microscope.annuli
    detectors = [abtem.AnnularDetector(inner, outer) for inner, outer in annuli.values()]
    probe = {"energy": microscope.energy, "semiangle_cutoff": microscope.semiangle}
    if method == "prism":
        matrix = abtem.SMatrix(potential=potential, interpolation=interpolation, **probe)
        ctf = abtem.CTF(defocus=microscope.defocus, **probe)
        found = matrix.scan(scan=grid, detectors=detectors, ctf=ctf, lazy=False)
    else:
        beam = abtem.Probe(defocus=microscope.defocus, **probe)
        beam.grid.match(potential)
        found = beam.scan(potential, scan=grid, detectors=detectors, lazy=False, max_batch=16)
    found = found if isinstance(found, list | tuple) else [found]
    signals = {name: _upright(image.array) for name, image in zip(annuli, found, strict=True)}
    return Scan(signals, edges)


def need_abtem() -> Any:
    """Import abTEM, which takes seconds.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import abtem
    except ImportError as error:
        raise MissingExtraError(
            "multislice needs abTEM, which is not installed: pip install 'atomscope[simulate]'"
        ) from error
    return abtem


def _edges(atoms: Atoms) -> tuple[float, float]:
    cell = np.asarray(atoms.cell[:])
    if len(atoms) == 0 or abs(np.linalg.det(cell)) < 1e-6:
        raise UsageError("structure: expected atoms in a cell with right angles.")
    if np.abs(cell - np.diag(np.diag(cell))).max() > 1e-3:
        raise UsageError(
            "structure: the cell has no right angles along x, y, z; see `slabs.oriented`."
        )
    return float(cell[0, 0]), float(cell[1, 1])


def _points(atoms: Atoms, sampling: float, multiple: int) -> tuple[int, int]:
    """Grid of the potential: the next numbers that are fast in FFTs and fit the interpolation."""
    from scipy.fft import next_fast_len

    width, height = (
        multiple * next_fast_len(int(np.ceil(atoms.cell[i, i] / sampling / multiple)))
        for i in (0, 1)
    )
    return width, height


def _upright(array: Any) -> NDArray[np.float32]:
    """Turn (x, y) with y up into (y, x) with y down; row 0 stays, since the cell repeats."""
    image = np.asarray(array, dtype=np.float32)
    image = image.mean(axis=0) if image.ndim == 3 else image
    return np.ascontiguousarray(np.roll(image.T[::-1], 1, axis=0))
