"""What is drawn over the atoms of a frame: bonds, rings unlike the host's, defects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.errors import UsageError
from atomscope.spacing import SAMPLE, is_ordered, median_spacing, nearest
from atomscope.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.graph import AtomGraph
    from atomscope.rules.book import Book

MOST_ATOMS = 20_000  # of a frame whose bonds are drawn: beyond, lines would cover the image
_PAST = 0.85  # of a bond's length; a corner of a square is 0.71 of the diagonal from its ends
_BESIDE = 8  # atoms nearest to the middle of a bond, its ends among them
_ALIKE = 1.05  # ratio of lengths up to which bonds that cross are equals
_TOUCH = 1e-6  # of the length: bonds that share an atom do not cross
_COMMON = 0.3  # share of all rings from which on the commonest size is that of a host
_MARGIN = 0.55  # spacings between the outermost atom of a defect and its circle
_WIDEST = 8.0  # spacings: the circle of a boundary marks its middle


def _no_bonds() -> NDArray[np.int64]:
    return np.zeros((0, 2), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Network:
    """Bonds and odd rings of one frame; atoms are rows of its table.

    Attributes:
        bonds: Pairs of bonded atoms, shape (B, 2).
        rings: Atoms of each ring of another size than the commonest, in order.
    """

    bonds: NDArray[np.int64] = field(default_factory=_no_bonds)
    rings: tuple[tuple[int, ...], ...] = ()


def network(
    atoms: pd.DataFrame,
    *,
    host: str | None = None,
    shape: tuple[int, int] | None = None,
    pixel_size: float | None = None,
) -> Network:
    """Return bonds and odd rings of one frame, none where there are more than `MOST_ATOMS`.

    Args:
        atoms: Rows of the atoms table that belong to one frame; positions that are not finite
            are left out.
        host: Rule book whose longest bonds count, or None for those of the elements.
        shape: Height and width of the frame in px.
        pixel_size: Å per px.
    """
    xy = positions(atoms)
    rows = np.flatnonzero(np.isfinite(xy).all(axis=1))
    if not 2 <= len(rows) <= MOST_ATOMS:
        return Network()
    if not host and not (atoms["species"] != "").any() and not is_ordered(nearest(xy[rows])):
        return Network()
    graph = _sheet(atoms.iloc[rows], host, shape, pixel_size)
    if graph is None:
        return Network()
    whole, sheet = graph
    bonds = rows[whole.bonds]
    if not host or not (atoms["species"] != "").any():
        bonds = _direct(bonds, xy)
    return Network(_uncrossed(bonds, xy), _odd_rings(sheet, rows))


def _direct(bonds: NDArray[np.int64], xy: FloatArray) -> NDArray[np.int64]:
    """Leave out bonds beside which an atom lies much nearer to both ends: they go past it."""
    if len(bonds) == 0:
        return bonds
    ends = xy[bonds]
    length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    beside = cKDTree(xy).query(ends.mean(axis=1), k=min(_BESIDE, len(xy)))[1]
    away = np.linalg.norm(xy[beside][:, :, None] - ends[:, None], axis=-1)
    own = (beside[:, :, None] == bonds[:, None]).any(axis=-1)
    farther = np.where(own, np.inf, away.max(axis=-1)).min(axis=1)
    return np.asarray(bonds[farther >= _PAST * length])


def _uncrossed(bonds: NDArray[np.int64], xy: FloatArray) -> NDArray[np.int64]:
    """Leave out the longer of two bonds that cross, both if they are alike.

    Seen from above no two bonds cross; the diagonals of a square cell are none.
    """
    if len(bonds) < 2:
        return bonds
    start, along = xy[bonds[:, 0]], xy[bonds[:, 1]] - xy[bonds[:, 0]]
    length = np.linalg.norm(along, axis=1)
    tree = cKDTree(start + 0.5 * along)
    i, j = tree.query_pairs(float(length.max()), output_type="ndarray").T
    apart = start[j] - start[i]
    turn = _cross(along[i], along[j])
    with np.errstate(divide="ignore", invalid="ignore"):  # bonds that are parallel
        at = np.stack([_cross(apart, along[j]) / turn, _cross(apart, along[i]) / turn])
    crossing = ((at > _TOUCH) & (at < 1 - _TOUCH)).all(axis=0)
    i, j = i[crossing], j[crossing]
    gone = np.zeros(len(bonds), dtype=bool)
    gone[i[length[i] > length[j] / _ALIKE]] = True
    gone[j[length[j] > length[i] / _ALIKE]] = True
    return np.asarray(bonds[~gone])


def _cross(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def circles(defects: pd.DataFrame, atoms: pd.DataFrame) -> FloatArray:
    """Return x, y and radius (px) of a circle around each defect of one frame, shape (D, 3).

    Args:
        defects: Rows of the defects table that belong to the frame.
        atoms: Rows of the atoms table that belong to it.
    """
    spacing = median_spacing(positions(atoms), SAMPLE) or 20.0
    place = dict(zip(atoms["atom"].tolist(), range(len(atoms)), strict=True))
    xy = positions(atoms)
    centres = positions(defects)
    radii = np.zeros(len(defects))
    for number, (centre, words) in enumerate(zip(centres, defects["atoms"], strict=True)):
        away = xy[members(words, place)] - centre
        radii[number] = np.hypot(*away.T).max(initial=0.3 * spacing)
    radii = np.minimum(radii + _MARGIN * spacing, _WIDEST * spacing)
    return np.column_stack([centres, radii])


def members(words: str, place: dict[int, int]) -> list[int]:
    """Return the rows of atoms whose numbers stand in a text, leaving out unknown ones."""
    numbers = (int(word) for word in str(words or "").split() if word.isdigit())
    return [place[number] for number in numbers if number in place]


def place_names(
    names: list[str], around: FloatArray, unit: float
) -> list[tuple[float, float] | None]:
    """Return the lower left corner (px) of each name, over or under its circle; None without room.

    Args:
        names: What is to be written, the most important first.
        around: x, y and radius (px) of the circles, shape (D, 3).
        unit: Half a line of text in px.
    """
    height = 2.4 * unit
    taken = np.zeros((0, 4))
    found: list[tuple[float, float] | None] = []
    for name, (x, y, radius) in zip(names, around, strict=True):
        width = 1.25 * unit * len(name)
        found.append(None)
        for bottom in (y - radius, y + radius + height):
            left = x - width / 2
            box = np.array([left, bottom - height, left + width, bottom])
            apart = (box[:2] >= taken[:, 2:]).any(1) | (box[2:] <= taken[:, :2]).any(1)
            if apart.all():
                taken = np.vstack([taken, box])
                found[-1] = (left, bottom)
                break
    return found


def _sheet(
    atoms: pd.DataFrame,
    host: str | None,
    shape: tuple[int, int] | None,
    pixel_size: float | None,
) -> tuple[AtomGraph, AtomGraph] | None:
    """All bonds, and those without what lies on top of a sheet; None where there can be none."""
    from atomscope.graph import connect

    book = _book(host)
    try:
        if book is not None:
            return _by_book(atoms, book, shape, pixel_size)
        graph = connect(atoms, shape=shape, pixel_size=pixel_size)
    except UsageError:  # words that are no elements, or all atoms in one place
        try:
            graph = connect(atoms.assign(species=""), shape=shape, pixel_size=pixel_size)
        except UsageError:
            return None
    return graph, graph


def _book(host: str | None) -> Book | None:
    from atomscope.rules.book import load, names

    return load(host) if host in names() else None  # a user's own rules are not at hand here


def _by_book(
    atoms: pd.DataFrame, book: Book, shape: tuple[int, int] | None, pixel_size: float | None
) -> tuple[AtomGraph, AtomGraph]:
    from atomscope.rules.host import words_of
    from atomscope.rules.network import bonded, on_top

    species = words_of(atoms, book)
    graph = bonded(atoms, species, book, shape, pixel_size)
    if book.sense != "rings":
        return graph, graph
    foreign = (species != "") & ~np.isin(species, list(book.host))
    flat = ~on_top(graph, foreign, book.coordination)
    return graph, graph.keep(flat[:, None] & flat[graph.neighbours])


def _odd_rings(sheet: AtomGraph, rows: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    from atomscope.graph import rings
    from atomscope.graph.faces import LONGEST

    found = rings(sheet, longest=LONGEST)
    if len(found) == 0:
        return ()
    counts = np.bincount(found.size)
    if counts.max() < _COMMON * len(found):
        return ()
    odd = np.flatnonzero(found.size != counts.argmax())
    return tuple(tuple(rows[found.members[r, : found.size[r]]].tolist()) for r in odd)
