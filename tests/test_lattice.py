"""The lattice of a point pattern: found through damage, the same however it lies, none in chaos."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from atomscope.errors import UsageError
from atomscope.lattice import empty_sites, fit_lattice
from atomscope.lattice.supercell import cells_of, coset
from atomscope.lattice.vectors import reduce_cell
from atomscope.simulate.lattices import tile
from worlds import HEXAGONAL, HONEYCOMB, SQUARE, Floats

A = 10.0  # px between neighbours
CELLS = {
    "honeycomb": (A * HONEYCOMB[0], HONEYCOMB[1]),
    "hexagonal": (A * HEXAGONAL, np.zeros((1, 2))),
    "square": (A * SQUARE[0], SQUARE[1]),
    "oblong": (np.diag([A, 1.5 * A]), np.zeros((1, 2))),
    "buckled": (np.diag([A, 1.4 * A]), np.array([[0.0, 0.0], [0.42, 0.5]])),
    "dumbbells": (A * np.array([[2.0, 0.0], [1.0, 1.4]]), np.array([[0, 0], [0.26, 0.26]])),
    "four": (
        A * np.array([[2.4, 0.0], [0.3, 2.6]]),
        np.array([[0.0, 0.0], [0.5, 0.1], [0.15, 0.48], [0.6, 0.6]]),
    ),
}


def crystal(
    name: str,
    rng: np.random.Generator,
    *,
    size: int = 220,
    angle: float = 0.3,
    vacancies: float = 0.0,
    spurious: float = 0.0,
    noise: float = 0.0,
    strain: float = 0.0,
) -> tuple[Floats, np.ndarray]:
    """Points of a damaged crystal, and the true sublattice of each, -1 for spurious ones."""
    cell, basis = CELLS[name]
    xy, kind = tile(cell, basis, size, angle, rng.uniform(0, 1, 2))
    kept = np.all((xy > 0) & (xy < size), axis=1) & (rng.random(len(xy)) >= vacancies)
    xy, kind = xy[kept], kind[kept]
    waves = np.sin(2 * np.pi * xy[:, ::-1] / size)
    xy = xy + strain * size / (2 * np.pi) * waves + rng.normal(0, noise * A, xy.shape)
    extra = int(spurious * len(xy))
    xy = np.concatenate([xy, rng.uniform(0, size, (extra, 2))])
    return xy, np.concatenate([kind, np.full(extra, -1)])


def shape_of(vectors: Floats) -> Floats:
    """Both lengths and the angle in degrees."""
    a, b = np.hypot(*vectors.T)
    cosine = vectors[0] @ vectors[1] / (a * b)
    return np.array([a, b, np.degrees(np.arccos(cosine))])


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("strain", [0.0, 0.04])
def test_a_damaged_crystal_is_found_whole(name, strain, rng):
    damage = {"vacancies": 0.1, "spurious": 0.1, "noise": 0.03, "strain": strain}
    xy, kind = crystal(name, rng, **damage)
    lattice = fit_lattice(xy)
    assert lattice is not None
    expected = shape_of(reduce_cell(CELLS[name][0])[0])
    np.testing.assert_allclose(shape_of(lattice.vectors), expected, rtol=0.02)
    assert len(lattice.basis) == len(CELLS[name][1])
    real = kind >= 0
    assert lattice.member[real].mean() > 0.98
    assert lattice.member[~real].mean() < 0.25  # those that fell on an empty site
    for s in range(len(lattice.basis)):
        assert len(set(kind[real & (lattice.sublattice == s)])) == 1
    # the deviation is that of the noise, and not of the strain
    assert 0.025 * A < np.nanstd(lattice.deviation[real]) < 0.045 * A


def test_indices_count_cells(rng):
    xy, _ = crystal("four", rng, size=300, strain=0.02, noise=0.01)
    lattice = fit_lattice(xy)
    place = lattice.origin + (lattice.cell + lattice.basis[lattice.sublattice]) @ lattice.vectors
    # strain shifts by some px in all, a wrong index by a cell of 24 px at once
    shift = (xy - place)[lattice.member]
    near = cKDTree(xy[lattice.member]).query(xy[lattice.member], k=5)[1]
    assert np.abs(shift[near] - shift[:, None]).max() < 0.3 * A
    keys = np.column_stack([lattice.sublattice, lattice.cell])[lattice.member]
    assert len(np.unique(keys, axis=0)) == len(keys)


@pytest.mark.parametrize("name", ["honeycomb", "dumbbells", "four"])
def test_order_of_rows_does_not_matter(name, rng):
    xy, _ = crystal(name, rng, vacancies=0.1, spurious=0.1, noise=0.03)
    mixed = rng.permutation(len(xy))
    one, two = fit_lattice(xy), fit_lattice(xy[mixed])
    np.testing.assert_array_equal(one.vectors, two.vectors)
    np.testing.assert_array_equal(one.sublattice[mixed], two.sublattice)
    np.testing.assert_array_equal(one.cell[mixed], two.cell)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("turn", [0.5, 2.2])
def test_turning_and_scaling_turn_and_scale_it(name, turn, rng):
    xy, _ = crystal(name, rng, vacancies=0.05, noise=0.02)
    c, s = np.cos(turn), np.sin(turn)
    moved = 3.7 * xy @ np.array([[c, s], [-s, c]]) + [400.0, -90.0]
    one, two = fit_lattice(xy), fit_lattice(moved)
    np.testing.assert_allclose(
        shape_of(two.vectors), shape_of(one.vectors) * [3.7, 3.7, 1], rtol=5e-3
    )
    assert (one.member == two.member).mean() > 0.99
    both = one.member & two.member
    pairs = set(zip(one.sublattice[both], two.sublattice[both], strict=True))
    assert len(pairs) == len(one.basis)  # the same parts, whatever their numbers


@given(
    st.lists(st.integers(-3, 3), min_size=3, max_size=3),
    st.floats(0.6, 1.6),
    st.floats(1.1, 2.0),
    st.floats(0, 6.28),
)
def test_every_description_of_a_lattice_reduces_to_one(steps, ratio, angle, turn):
    cell = np.array([[1.0, 0.0], [ratio * np.cos(angle), ratio * np.sin(angle)]])
    cell = cell @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    other = cell
    for k, times in enumerate(steps):
        shear = np.array([[1, times], [0, 1]] if k % 2 else [[1, 0], [times, 1]])
        other = shear @ other
    one, two = reduce_cell(cell)[0], reduce_cell(other)[0]
    np.testing.assert_allclose(shape_of(two)[:2], shape_of(one)[:2], rtol=0.03)
    for old, new in ((cell, reduce_cell(cell)), (other, reduce_cell(other))):
        np.testing.assert_allclose(new[1] @ old, new[0], atol=1e-9)
        assert abs(round(np.linalg.det(new[1]))) == 1
        assert np.linalg.det(new[0]) > 0
        assert 58.5 < shape_of(new[0])[2] < 121.5


@pytest.mark.parametrize("count", [3, 14, 40, 200, 1500])
def test_chaos_has_no_lattice(count, rng):
    for _ in range(5):
        xy = rng.uniform(0, A * np.sqrt(count), (count, 2))
        assert fit_lattice(xy) is None
        apart = xy[[len(near) == 0 for near in _before(xy, 0.7 * A)]]
        assert fit_lattice(apart) is None


def _before(xy: Floats, distance: float) -> list[list[int]]:
    """Earlier points that are too near to each point."""
    near = cKDTree(xy).query_ball_point(xy, distance)
    return [[j for j in found if j < i] for i, found in enumerate(near)]


def test_points_on_top_of_each_other_are_no_lattice():
    assert fit_lattice(np.ones((50, 2))) is None
    assert fit_lattice(np.repeat(np.arange(20.0), 2).reshape(-1, 2)) is None  # a line


@pytest.mark.parametrize("turn", [0.2, 0.25, 0.38, 0.5])
def test_the_larger_of_two_grains_is_taken(turn, rng):
    left, _ = crystal("honeycomb", rng, angle=0.3, vacancies=0.05, noise=0.02, size=280)
    right, _ = crystal("honeycomb", rng, angle=0.3 + turn, vacancies=0.05, noise=0.02, size=280)
    left, right = left[left[:, 0] < 160], right[right[:, 0] >= 160]
    lattice = fit_lattice(np.concatenate([left, right]))
    member = lattice.member
    assert len(lattice.basis) == 2
    assert member[: len(left)].mean() > 0.97
    assert member[len(left) :].mean() < 0.15


def test_brightness_shows_the_larger_cell(rng):
    xy, _ = crystal("square", rng, vacancies=0.05, noise=0.02)
    plain = fit_lattice(xy)
    assert len(plain.basis) == 1
    odd = plain.cell.sum(axis=1) % 2 == 1
    bright = np.where(odd, 2.0, 1.0) * rng.normal(1, 0.1, len(xy))
    checked = fit_lattice(xy, bright)
    assert len(checked.basis) == 2
    np.testing.assert_allclose(np.hypot(*checked.vectors.T), np.sqrt(2) * A, rtol=0.02)
    assert odd[checked.sublattice == 0].all()  # the brightest comes first
    assert not odd[checked.sublattice == 1].any()
    # dopants at random are no order
    dopants = np.where(rng.random(len(xy)) < 0.2, 3.0, 1.0)
    assert len(fit_lattice(xy, dopants).basis) == 1


def test_small_shifts_show_the_larger_cell(rng):
    xy, _ = crystal("square", rng, noise=0.02)
    rows = fit_lattice(xy).cell[:, 1] % 2
    shift = np.where(rows == 1, 0.12, -0.12) * A
    lattice = fit_lattice(xy + np.array([0.9, 0.3]) * shift[:, None])
    assert len(lattice.basis) == 2


@pytest.mark.parametrize("multiple", [2, 3, 4])
def test_larger_cells_share_the_cells_evenly(multiple):
    grid = np.stack(np.meshgrid(np.arange(-12, 12), np.arange(-12, 12)), -1).reshape(-1, 2)
    forms = list(cells_of(multiple))
    assert len(forms) == {2: 3, 3: 4, 4: 7}[multiple]  # sum of the divisors
    for h in forms:
        assert set(np.bincount(coset(grid, h))) == {len(grid) // multiple}
        for step in h:
            np.testing.assert_array_equal(coset(grid, h), coset(grid + step, h))


@pytest.mark.parametrize("name", ["honeycomb", "square", "dumbbells"])
def test_empty_sites_are_the_atoms_that_were_taken_out(name, rng):
    size = 240
    xy, _ = crystal(name, rng, size=size, strain=0.02)
    gone = rng.random(len(xy)) < 0.08
    left = xy[~gone] + rng.normal(0, 0.02 * A, (np.sum(~gone), 2))
    found = empty_sites(fit_lattice(left), left, (size, size))
    deep = np.all((xy > 1.5 * A) & (xy < size - 1.5 * A), axis=1)
    assert np.mean(cKDTree(found).query(xy[gone & deep])[0] < 0.15 * A) > 0.95
    assert np.mean(cKDTree(xy[gone]).query(found)[0] < 0.15 * A) > 0.97


def test_a_flake_has_no_empty_sites_outside(rng):
    xy, _ = crystal("hexagonal", rng, size=240, noise=0.01)
    flake = xy[np.hypot(*(xy - 120).T) < 80]
    found = empty_sites(fit_lattice(flake), flake, (240, 240))
    assert len(found) == 0
    whole = empty_sites(fit_lattice(xy), xy, (240, 240))
    assert len(whole) == 0


def test_many_atoms_take_time_in_proportion():
    # the indices run through the whole crystal: 20 000 atoms, from one seed
    rng = np.random.default_rng(3)
    xy, _ = crystal("honeycomb", rng, size=1620, vacancies=0.05, noise=0.02, strain=0.02)
    lattice = fit_lattice(xy)
    assert len(xy) > 19_000
    assert lattice.member.mean() > 0.995
    spans = [np.ptp(lattice.cell[:, i]) for i in (0, 1)]
    assert min(spans) > 90


@pytest.mark.parametrize(
    ("xy", "bright", "word"),
    [
        (np.zeros(5), None, r"\(N, 2\)"),
        (np.full((20, 2), np.nan), None, "finite"),
        (np.zeros((20, 2)), np.zeros(19), "intensity"),
    ],
)
def test_wrong_arrays_are_told(xy, bright, word):
    with pytest.raises(UsageError, match=word):
        fit_lattice(xy, bright)
