"""Quality numbers against arrangements whose numbers are known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atomscope.columns import conform, empty
from atomscope.quality import Quality, concerns, quality

SHAPE = (300, 400)


def table(xy: np.ndarray, **columns: object) -> pd.DataFrame:
    """An atoms table of one frame, refined and sure unless told otherwise."""
    base = {
        "frame": 0, "atom": np.arange(len(xy)), "x_px": xy[:, 0], "y_px": xy[:, 1],
        "x_err_px": 0.1, "y_err_px": 0.1, "p": 1.0, "width": 2.0,
    }  # fmt: skip
    return conform(pd.DataFrame({**base, **columns}))


def lattice(
    a: tuple[float, float], b: tuple[float, float], basis: list[tuple[float, float]]
) -> np.ndarray:
    """All sites of a crystal inside the frame."""
    i, j = np.mgrid[-200:200, -200:200].reshape(2, -1, 1)
    cells = i * np.array(a) + j * np.array(b)
    xy = np.concatenate([cells + site for site in basis])
    return xy[((xy >= 0) & (xy <= np.array(SHAPE[::-1]) - 1)).all(axis=1)]


def honeycomb(d: float = 10.0) -> np.ndarray:
    root = 3**0.5 * d
    return lattice((root, 0), (root / 2, 1.5 * d), [(0, 0), (0, d)])


def judge(atoms: pd.DataFrame, n_frames: int = 1, pixel_size: float | None = None) -> Quality:
    return quality(atoms, SHAPE, n_frames, pixel_size)


def test_a_perfect_crystal_is_beyond_doubt() -> None:
    xy = honeycomb()
    result = judge(table(xy), pixel_size=0.142)
    assert result.n_atoms == len(xy)
    assert result.spacing_px == pytest.approx(10)
    assert result.spacing_angstrom == pytest.approx(1.42)
    assert result.spacing_spread_px == pytest.approx(0, abs=1e-9)
    assert sum(result.spacing_counts) == len(xy)
    assert result.ordered
    assert (result.duplicates, result.gap_share, result.gap_count) == (0, 0, 0)
    assert (result.refined_share, result.mean_p, result.expected_false) == (1, 1, 0)
    assert result.error_pm == pytest.approx(1.42)
    assert concerns(result) == {}


@pytest.mark.parametrize("turn", ["rotate", "mirror", "permute"])
def test_numbers_do_not_depend_on_how_one_looks(turn: str, rng: np.random.Generator) -> None:
    xy = honeycomb() + rng.normal(0, 0.4, (len(honeycomb()), 2))
    height, width = SHAPE
    views = {
        "rotate": (np.column_stack([xy[:, 1], width - 1 - xy[:, 0]]), (width, height)),
        "mirror": (np.column_stack([width - 1 - xy[:, 0], xy[:, 1]]), SHAPE),
        "permute": (rng.permutation(xy), SHAPE),
    }
    seen, shape = views[turn]
    first, second = judge(table(xy)).to_dict(), quality(table(seen), shape, 1).to_dict()
    for name, value in first.items():
        if value is not None and not isinstance(value, dict):
            np.testing.assert_allclose(second[name], value, rtol=1e-6, atol=2e-3, err_msg=name)


def test_lengths_grow_with_the_frame_and_shares_do_not() -> None:
    xy = honeycomb()[::2]
    small, large = judge(table(xy)), quality(table(3 * xy), (900, 1200), 1)
    for name in ("spacing_px", "spacing_spread_px"):
        assert getattr(large, name) == pytest.approx(3 * getattr(small, name))
    assert large.ordered == small.ordered
    assert large.border_share == pytest.approx(small.border_share, abs=0.02)


@pytest.mark.parametrize("share", [0.02, 0.2, 1.0])
def test_atoms_found_twice_are_counted(share: float, rng: np.random.Generator) -> None:
    xy = honeycomb()
    twice = rng.permutation(xy)[: round(share * len(xy))]
    result = judge(table(np.concatenate([xy, twice + np.array([1.0, 0.5])])))
    assert result.duplicates == len(twice)
    assert result.ordered
    assert "duplicates" in concerns(result)


def test_dumbbells_are_neither_duplicates_nor_gaps() -> None:
    """Si<110>: pairs 1.36 Å apart in a cell of 3.84 by 5.43 Å, at 0.1 Å per pixel."""
    cell = ((38.4, 0.0), (19.2, 27.15))
    result = judge(table(lattice(*cell, [(0, 0), (0, 13.6)])))
    assert result.spacing_px == pytest.approx(13.6, rel=0.01)
    assert concerns(result) == {}


def test_a_hole_is_found_and_measured() -> None:
    xy = honeycomb()
    radius = 60
    away = np.hypot(*(xy - [200, 150]).T) > radius
    result = judge(table(xy[away]))
    assert (result.gap_count, result.enclosed_gap_count) == (1, 1)
    expected = np.pi * (radius - result.gap_px) ** 2 / (300 * 400)
    assert result.gap_share == pytest.approx(expected, rel=0.25)
    assert "gap_share" in concerns(result)


def test_vacuum_at_the_border_is_a_gap_that_is_not_enclosed() -> None:
    xy = honeycomb()
    result = judge(table(xy[xy[:, 0] < 200]))
    assert (result.gap_count, result.enclosed_gap_count) == (1, 0)
    assert result.gap_share == pytest.approx(0.5 - result.gap_px / 400, abs=0.02)


def test_one_missing_atom_is_no_gap() -> None:
    xy = honeycomb()
    assert judge(table(np.delete(xy, len(xy) // 2, axis=0))).gap_count == 0


def test_single_atoms_at_random_raise_no_lattice_doubts(rng: np.random.Generator) -> None:
    result = judge(table(rng.uniform(0, 299, (150, 2))))
    assert not result.ordered
    assert result.gap_share is None
    assert result.duplicate_px == pytest.approx(4)  # two widths
    without_width = judge(table(rng.uniform(0, 299, (150, 2)), width=np.nan))
    assert without_width.duplicates is None


def test_probabilities_and_errors_are_summed_up_as_defined(rng: np.random.Generator) -> None:
    xy = honeycomb()
    p = rng.beta(8, 2, len(xy))
    x_err = np.where(np.arange(len(xy)) % 4 == 0, np.nan, 0.3)
    atoms = table(xy, p=p, x_err_px=x_err, y_err_px=0.4, flags="")
    atoms.loc[::4, "flags"] = "unrefined edge"
    result = judge(atoms, pixel_size=0.2)
    assert result.expected_false == pytest.approx((1 - p).sum())
    assert result.mean_p == pytest.approx(p.mean())
    assert result.error_px == pytest.approx((0.5 * (0.3**2 + 0.4**2)) ** 0.5)
    assert result.error_pm == pytest.approx(20 * result.error_px)
    assert result.refined_share == pytest.approx(0.75, abs=0.01)
    quarter = len(atoms.iloc[::4])
    assert result.flag_counts == {"unrefined": quarter, "edge": quarter}
    assert {"refined_share", "expected_false"} <= concerns(result).keys()


def test_frames_of_a_movie_do_not_touch() -> None:
    one = table(honeycomb())
    movie = pd.concat([one, one.assign(frame=2)], ignore_index=True)
    result = judge(movie, n_frames=3)
    assert result.atoms_per_frame == (0, len(one), len(one))
    assert result.duplicates == 0
    assert result.spacing_px == pytest.approx(10)
    assert list(concerns(result)) == ["atoms_per_frame"]


def test_no_atoms_is_said_and_nothing_else() -> None:
    result = judge(empty(), n_frames=4, pixel_size=0.1)
    assert result.atoms_per_frame == (0, 0, 0)
    assert result.spacing_px is None
    assert list(concerns(result)) == ["n_atoms"]


_POINTS = st.lists(
    st.tuples(st.floats(-5, 405), st.floats(-5, 305), st.integers(0, 2), st.floats(0, 1)),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(points=_POINTS, known=st.booleans())
def test_any_table_gives_shares_and_plain_values(points: list[tuple], known: bool) -> None:
    values = np.array(points, dtype=float).reshape(-1, 4)
    atoms = table(values[:, :2], frame=values[:, 2].astype(int), p=values[:, 3])
    if not known:
        atoms[["p", "x_err_px", "y_err_px", "width"]] = np.nan
    result = judge(atoms, n_frames=3)
    for name in ("gap_share", "refined_share", "mean_p", "border_share"):
        value = getattr(result, name)
        assert value is None or 0 <= value <= 1
    assert sum(result.spacing_counts) <= len(atoms)
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["n_atoms"] == len(atoms)
    assert concerns(result).keys() <= result.to_dict().keys()
