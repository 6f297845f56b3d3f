"""Laws of mixing, pair correlations, and their intervals."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from atomscope.errors import UsageError
from atomscope.intervals import binomial_interval, ratio_interval
from atomscope.lattice import fit_lattice
from atomscope.measure import measure
from atomscope.measure.mixing import Shell, shells, warren_cowley
from atomscope.measure.pairs import pair_correlation
from atomscope.rules.statistics import pair_counts
from planted import (
    SIZE,
    atoms_of,
    crystal,
    gone,
    numbers,
    row,
)

# --- mixing ----------------------------------------------------------------------------------


def test_a_checkerboard_is_perfectly_ordered() -> None:
    xy, vectors = crystal("square", angle=0.1)
    index = np.rint((xy - xy[0]) @ np.linalg.inv(vectors)).astype(int)
    keep = np.ones(len(xy), dtype=bool)
    even = index.sum(axis=1) % 2 == 0
    keep[np.flatnonzero(even)[: max(even.sum() - (~even).sum(), 0)]] = False  # as many of both
    keep[np.flatnonzero(~even)[: max((~even).sum() - even.sum(), 0)]] = False
    species = np.where(even, "Cu", "Au")[keep]
    found = numbers(
        measure(atoms_of(xy[keep], species=species), shape=(SIZE, SIZE)), "Warren-Cowley"
    )
    alpha = found.set_index(["group", "at"])["value"]
    for shell, value in ((1.0, -1.0), (2.0, 1.0), (3.0, 1.0)):
        assert alpha["Au|Cu on 0", shell] == pytest.approx(value)
        # like pairs at the border are not quite as many of both species
        assert alpha["Au|Au on 0", shell] == pytest.approx(-value, abs=0.03)


def test_rows_of_two_metals_have_the_order_counted_by_hand() -> None:
    """Alternating rows on a hexagonal lattice: 4 of 6 neighbours are unlike, 1 - (4/6) / (1/2)."""
    xy, vectors = crystal(size=480)
    index = np.rint((xy - xy[0]) @ np.linalg.inv(vectors)).astype(int)
    species = np.where(index[:, 1] % 2 == 0, "Mo", "W")
    found = numbers(measure(atoms_of(xy, species=species), shape=(480, 480)), "Warren-Cowley")
    alpha = found.set_index(["group", "at"])["value"]
    assert alpha["Mo|W on 0", 1.0] == pytest.approx(-1 / 3, abs=0.02)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_random_alloys_are_mixed_at_random(share: float) -> None:
    rng = np.random.default_rng(5)
    xy, _ = crystal()
    lattice = fit_lattice(xy)
    first = shells(lattice, xy, 1)[0]
    inside_ = 0
    for _ in range(200):
        species = np.where(rng.random(len(xy)) < share, "W", "Mo").astype(object)
        (_, _, _, low, high, _), *_ = warren_cowley(species, first)
        inside_ += low <= 0 <= high
    assert inside_ >= 190


def test_the_interval_of_random_mixing_is_that_of_all_permutations() -> None:
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [1, 4], [4, 5]])
    shell = Shell(1, pairs, np.bincount(pairs.ravel()), 4)
    species = np.array(list("AABBBC"), dtype=object)
    every = {a: [] for a in ("AB", "BB", "AC")}
    for order in set(permutations("AABBBC")):
        for a, b, alpha, *_ in warren_cowley(np.array(order, dtype=object), shell):
            if a + b in every:
                every[a + b].append(alpha)
    for a, b, alpha, _, high, _ in warren_cowley(species, shell, 0.5):
        if a + b in every:
            usual = (1 if a == b else 2) * 6 * (species == a).sum() * (species == b).sum() / 36
            width = high - alpha - (1 if a == b else 2) / usual
            assert width == pytest.approx(0.6744897502 * np.std(every[a + b]))


def test_foreign_neighbours_are_counted() -> None:
    xy, (a, _) = crystal()
    species = np.full(len(xy), "Mo", dtype=object)
    species[row(xy, a, range(3))] = "W"
    found = numbers(
        measure(atoms_of(xy, species=species), shape=(SIZE, SIZE)), "foreign neighbours"
    )
    first = found[found["group"] == "on 0, shell 1"]
    assert dict(zip(first["at"], first["value"] * first["n"], strict=True)) == {
        0.0: 0.0,
        1.0: pytest.approx(2),
        2.0: pytest.approx(1),
    }


# --- pairs and intervals ---------------------------------------------------------------------


def test_pairs_are_counted_as_one_by_one() -> None:
    rng = np.random.default_rng(4)
    table = pd.DataFrame(rng.uniform(0, 99, (60, 2)), columns=["x_px", "y_px"])
    table["frame"] = np.repeat([0, 1], 30)
    edges = np.array([0.0, 3.0, 10.0, 50.0])
    found, *_ = pair_counts(table, (100, 100), edges)
    count = np.zeros(3)
    for _, rows in table.groupby("frame"):
        xy = rows[["x_px", "y_px"]].to_numpy()
        i, j = np.triu_indices(len(xy), 1)
        count += np.histogram(np.hypot(*(xy[i] - xy[j]).T), edges)[0]
    assert found.tolist() == count.tolist()


def test_scattered_defects_do_not_know_of_each_other() -> None:
    rng, hits = np.random.default_rng(8), []
    for _ in range(60):
        xy = rng.uniform(0, [299, 149], (40, 2))
        rows = pair_correlation(gone(xy), (150, 300))
        hits += [row["low"] <= 1 <= row["high"] for row in rows]
    assert np.mean(hits) >= 0.93


def test_pair_correlation_does_not_depend_on_the_unit() -> None:
    rng = np.random.default_rng(9)
    xy = rng.uniform(0, 199, (50, 2))
    base = pd.DataFrame(pair_correlation(gone(xy), (200, 200)))
    twice = pd.DataFrame(pair_correlation(gone(2 * xy), (400, 400), scale=0.5))
    np.testing.assert_allclose(base.drop(columns="quantity"), twice.drop(columns="quantity"))


def test_intervals_of_shares_are_exact() -> None:
    assert binomial_interval(0, 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert binomial_interval(10, 10) == (pytest.approx(0.025 ** (1 / 10)), 1.0)
    assert binomial_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(UsageError, match="count 3"):
        binomial_interval(3, 2)
    assert np.isnan(ratio_interval(np.ones(1), np.ones(1))).all()
    assert np.isnan(ratio_interval(np.zeros(3), np.ones(3))).all()
    assert ratio_interval(np.full(4, 2.0), np.ones(4)) == (2.0, 2.0)
    low, high = ratio_interval(np.array([4.0, 5.0]), np.ones(2))
    assert low < 1  # two say very little
    assert high > 10
    rng = np.random.default_rng(1)
    many = rng.normal(5.0, 1.0, 2000)
    low, high = ratio_interval(many, np.ones(2000))
    assert (high - low) / 2 == pytest.approx(1.96 / np.sqrt(2000), rel=0.05)
    for end in ratio_interval(3 * many, np.full(2000, 2.0)), (1.5 * low, 1.5 * high):
        assert end == pytest.approx((1.5 * low, 1.5 * high))
