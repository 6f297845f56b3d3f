"""How trustworthy is a table of atoms, seen from the table alone: no truth is needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.spacing import is_ordered

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.floating[Any]]

_GAP = 1.75  # in typical distances: one missing atom leaves a hole of about one
_BINS = 240  # of 0.8 % of the spacing: fine enough to show the spread of a good lattice
_MAX_CELLS = 4_000_000


@dataclass(frozen=True)
class Quality:
    """Numbers that tell where a result is weak; None where they cannot be known.

    Spacing is the distance from an atom to its nearest neighbour in the same frame.

    Attributes:
        n_atoms: Atoms in all frames.
        n_frames: Frames of the movie, with or without atoms.
        atoms_per_frame: Smallest, median and largest number of atoms of a frame.
        spacing_px: Median spacing.
        spacing_spread_px: Half the width of the middle 68 % of the spacings.
        spacing_angstrom: Median spacing in Å.
        spacing_spread_angstrom: Spread in Å.
        spacing_edges_px: Borders of the spacing histogram, 0 to twice the median.
        spacing_counts: Atoms in each bin; larger spacings are in none.
        ordered: Whether the spacings are as alike as in a lattice.
        duplicates: Pairs that are too near each other to be two atoms.
        duplicate_px: Distance below which a pair counts as duplicate.
        gap_share: Share of the field farther than `gap_px` from every atom; None where the atoms
            form no lattice, as every place could then be rightly empty.
        gap_count: Connected gaps per frame, in the mean.
        enclosed_gap_count: Those of them that do not touch the border of the field.
        gap_px: Distance above which a point lies in a gap.
        refined_share: Share of the atoms with standard errors.
        error_px: Median standard error of a position along one axis.
        error_pm: The same in pm.
        mean_p: Mean probability, the expected share of true atoms.
        expected_false: Expected number of false atoms, the sum of 1 - p.
        border_share: Share of the atoms within one spacing of the border of the field.
        flag_counts: Atoms that carry each flag.
    """

    n_atoms: int
    n_frames: int
    atoms_per_frame: tuple[int, float, int]
    spacing_px: float | None
    spacing_spread_px: float | None
    spacing_angstrom: float | None
    spacing_spread_angstrom: float | None
    spacing_edges_px: tuple[float, ...]
    spacing_counts: tuple[int, ...]
    ordered: bool
    duplicates: int | None
    duplicate_px: float | None
    gap_share: float | None
    gap_count: float | None
    enclosed_gap_count: float | None
    gap_px: float | None
    refined_share: float | None
    error_px: float | None
    error_pm: float | None
    mean_p: float | None
    expected_false: float | None
    border_share: float | None
    flag_counts: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they go into `run.json`."""
        return asdict(self)


def quality(
    atoms: pd.DataFrame,
    frame_shape: tuple[int, int],
    n_frames: int,
    pixel_size: float | None = None,
) -> Quality:
    """Judge a table of atoms; the work grows linearly with atoms and pixels.

    The typical distance is the median over atoms of the mean distance to the three nearest
    neighbours: unlike the median spacing it survives that every atom was found twice. A pair is
    a duplicate where it is nearer than half the typical distance. Where the atoms form no lattice
    it must also be nearer than two standard deviations of a column, where two equal Gaussians
    have but one maximum (Sparrow's limit); without a fitted width nothing is said there. Gaps are
    points farther than 1.75 typical distances from every atom: holes, vacuum, or missed atoms.

    Args:
        atoms: Atoms table (`columns.ATOMS`) of one image or movie; may be empty.
        frame_shape: Shape (y, x) of a frame.
        n_frames: Frames of the movie.
        pixel_size: Å per pixel, or None.
    """
    frames = list(_positions_by_frame(atoms))
    distances = np.concatenate([np.empty((0, 3)), *(_neighbours(xy) for xy in frames)])
    spacings = distances[np.isfinite(distances[:, 0]), 0]
    typical = _median(_row_means(distances))
    spacing, spread = _median(spacings), _spread(spacings)
    ordered = _is_ordered(distances, typical)
    duplicate = _duplicate_limit(typical, ordered, atoms)
    edges, counts = _histogram(spacings, spacing)
    error = _position_error(atoms)
    gap_share, gaps, enclosed = _gaps(frames, frame_shape, typical if ordered else None)
    p = atoms["p"].to_numpy(float)
    known_p = p[np.isfinite(p)]
    return Quality(
        n_atoms=len(atoms),
        n_frames=n_frames,
        atoms_per_frame=_counts_per_frame(frames, n_frames),
        spacing_px=spacing,
        spacing_spread_px=spread,
        spacing_angstrom=_times(spacing, pixel_size),
        spacing_spread_angstrom=_times(spread, pixel_size),
        spacing_edges_px=edges,
        spacing_counts=counts,
        ordered=ordered,
        duplicates=_count_pairs(frames, duplicate),
        duplicate_px=duplicate,
        gap_share=gap_share,
        gap_count=gaps,
        enclosed_gap_count=enclosed,
        gap_px=_times(typical, _GAP) if ordered else None,
        refined_share=_mean(_is_refined(atoms)),
        error_px=error,
        error_pm=_times(error, None if pixel_size is None else 100 * pixel_size),
        mean_p=_mean(known_p),
        expected_false=float(np.sum(1 - known_p)) if known_p.size else None,
        border_share=_border_share(frames, frame_shape, spacing),
        flag_counts=_flag_counts(atoms),
    )


def concerns(result: Quality) -> dict[str, str]:
    """Return what looks wrong, in plain words, by the name of the number that shows it."""
    found: dict[str, str] = {}
    n = result.n_atoms
    if n == 0:
        return {"n_atoms": "No atoms were found; check the pixel size and the modality."}
    if result.atoms_per_frame[0] == 0:
        found["atoms_per_frame"] = "At least one frame has no atoms."
    if result.duplicates is not None and result.duplicates > max(2, 0.002 * n):
        found["duplicates"] = (
            "Pairs closer than any two atoms should be: one atom found twice, or noise."
        )
    if result.gap_share is not None and result.gap_share > 0.02:
        found["gap_share"] = "Parts of the field hold no atoms: vacuum, holes, or missed atoms."
    if result.refined_share is not None and result.refined_share < 0.9:
        found["refined_share"] = "Many positions could not be refined and have no error bar."
    if result.expected_false is not None and result.expected_false > max(1, 0.05 * n):
        found["expected_false"] = "More than one in twenty atoms is expected to be false."
    if result.border_share is not None and result.border_share > 0.5:
        found["border_share"] = "Most atoms lie at the border, where neighbours are cut off."
    return found


def _positions_by_frame(atoms: pd.DataFrame) -> Iterator[FloatArray]:
    for _, rows in atoms.groupby("frame"):
        yield positions(rows)


def _neighbours(xy: FloatArray) -> FloatArray:
    """Distances to the three nearest neighbours, shape (N, 3), inf where there are fewer."""
    return np.asarray(cKDTree(xy).query(xy, k=4)[0])[:, 1:]


def _row_means(distances: FloatArray) -> FloatArray:
    finite = np.isfinite(distances)
    rows = finite[:, 0]
    sums = np.where(finite, distances, 0)[rows].sum(axis=1)
    return np.asarray(sums / finite[rows].sum(axis=1))


def _is_ordered(distances: FloatArray, typical: float | None) -> bool:
    if typical is None:
        return False
    # Beyond atoms that were found twice, which would make any lattice look varied.
    beyond = np.where(distances < 0.3 * typical, np.inf, distances).min(axis=1)
    spacings = beyond[np.isfinite(beyond)]
    return spacings.size >= 10 and is_ordered(spacings)


def _duplicate_limit(typical: float | None, ordered: bool, atoms: pd.DataFrame) -> float | None:
    if typical is None:
        return None
    if ordered:
        return 0.5 * typical
    width = _median(atoms["width"].to_numpy(float))
    return None if width is None else min(0.5 * typical, 2 * width)


def _count_pairs(frames: list[FloatArray], limit: float | None) -> int | None:
    if limit is None:
        return None
    return sum(len(cKDTree(xy).query_pairs(limit, output_type="ndarray")) for xy in frames)


def _gaps(
    frames: list[FloatArray], shape: tuple[int, int], typical: float | None
) -> tuple[float | None, float | None, float | None]:
    """Share of the field in gaps; gaps and enclosed gaps per frame."""
    if typical is None or typical == 0:
        return None, None, None
    cell = max(typical / 5, (shape[0] * shape[1] / _MAX_CELLS) ** 0.5)
    # Frames without atoms have no field that could be judged; they show in atoms_per_frame.
    found = np.array([_frame_gaps(xy, shape, cell, _GAP * typical) for xy in frames])
    share, gaps, enclosed = found.mean(axis=0)
    return float(share), float(gaps), float(enclosed)


def _frame_gaps(
    xy: FloatArray, shape: tuple[int, int], cell: float, limit: float
) -> tuple[float, float, float]:
    size = np.maximum(np.ceil(np.array(shape) / cell).astype(int), 1)
    columns_rows = np.clip(((xy + 0.5) / cell).astype(int), 0, size[::-1] - 1)
    empty = np.ones(size, dtype=bool)
    empty[columns_rows[:, 1], columns_rows[:, 0]] = False
    gap = ndimage.distance_transform_edt(empty, sampling=cell) > limit
    labels, count = ndimage.label(gap)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    touching = np.unique(border[border > 0]).size
    return float(gap.mean()), count, count - touching


def _border_share(
    frames: list[FloatArray], shape: tuple[int, int], spacing: float | None
) -> float | None:
    if spacing is None:
        return None
    xy = np.concatenate(frames)
    far_corner = np.array(shape[::-1]) - 1
    return _mean((np.minimum(xy, far_corner - xy) < spacing).any(axis=1))


def _histogram(
    spacings: FloatArray, spacing: float | None
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    if not spacing:
        return (), ()
    counts, edges = np.histogram(spacings, bins=_BINS, range=(0, 2 * spacing))
    return tuple(edges.tolist()), tuple(counts.tolist())


def _is_refined(atoms: pd.DataFrame) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(atoms[["x_err_px", "y_err_px"]].to_numpy(float)).all(axis=1))


def _position_error(atoms: pd.DataFrame) -> float | None:
    errors = atoms[["x_err_px", "y_err_px"]].to_numpy(float)
    return _median(np.sqrt((errors**2).mean(axis=1)))


def _counts_per_frame(frames: list[FloatArray], n_frames: int) -> tuple[int, float, int]:
    counts = np.zeros(max(n_frames, len(frames), 1), dtype=int)
    counts[: len(frames)] = [len(xy) for xy in frames]
    return int(counts.min()), float(np.median(counts)), int(counts.max())


def _flag_counts(atoms: pd.DataFrame) -> dict[str, int]:
    found: dict[str, int] = {}
    for flags, count in atoms["flags"].value_counts(sort=False).items():
        for word in str(flags).split():
            found[word] = found.get(word, 0) + int(count)
    return found


def _median(values: FloatArray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else None


def _spread(values: FloatArray) -> float | None:
    if not values.size:
        return None
    low, high = np.quantile(values, [0.16, 0.84])
    return float(high - low) / 2


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if values.size else None


def _times(value: float | None, factor: float | None) -> float | None:
    return None if value is None or factor is None else value * factor
