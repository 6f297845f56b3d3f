"""Classes of columns: worlds with known classes, recipes for structures, maps and tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from atomscope.errors import UsageError
from atomscope.models.targets import REACH, to_maps
from atomscope.simulate.classed import Change, Host, classed_lattice
from atomscope.simulate.crystals import Basis, project
from atomscope.simulate.materials import material


def classes_of(basis: Basis) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of the classes of a structure, one for each species, and the class of each site."""
    names = tuple(dict.fromkeys(basis.species))
    return names, tuple(names.index(s) for s in basis.species)


def molybdenite() -> Host:
    basis = project(material("1H-MoS2").atoms)
    names, label = classes_of(basis)
    assert set(names) == {"Mo", "S2"}
    return Host(basis, label, (1.6, 1.6))


def test_shares_of_changes_are_kept_and_weights_follow():
    host = molybdenite()
    _, label = classes_of(host.basis)
    sulfur = label[host.basis.species.index("S2")]
    changes = (
        Change(sulfur, 2, (0.2, 0.2), (0.5, 0.5)),
        Change(sulfur, 3, (0.1, 0.1), (0.0, 0.0)),
    )
    scene = classed_lattice(np.random.default_rng(1), 600, 8.0, (host,), changes)
    of_sulfur = scene.label != 1 - sulfur
    assert np.mean(scene.label[of_sulfur] == 2) == pytest.approx(0.2, abs=0.02)
    assert np.mean(scene.label[of_sulfur] == 3) == pytest.approx(0.08, abs=0.02)
    whole = scene.weight[scene.label == sulfur]
    np.testing.assert_allclose(scene.weight[scene.label == 2], 0.5 * whole[0])
    assert np.all(scene.weight[scene.label == 3] == 0)


def test_pushed_neighbours_move_away_and_others_stay():
    host = Host(project(material("graphene").atoms), (0, 0))
    push = (Change(0, 1, (0.002, 0.002), (4.0, 4.0), (0.1, 0.1)),)
    still = (Change(0, 1, (0.002, 0.002), (4.0, 4.0)),)
    moved = classed_lattice(np.random.default_rng(3), 400, 8.0, (host,), push)
    plain = classed_lattice(np.random.default_rng(3), 400, 8.0, (host,), still)
    shift = np.linalg.norm(moved.xy - plain.xy, axis=1)
    dopants = plain.xy[plain.label == 1]
    distance = np.linalg.norm(plain.xy[:, None] - dopants, axis=-1)
    nearest = np.where(distance > 1e-9, distance, np.inf).min(1)
    assert np.all(shift[nearest > 1.4 * 8] == 0)
    alone = (nearest < 1.1 * 8) & ((distance < 1.1 * 8).sum(1) == 1)
    np.testing.assert_allclose(shift[alone], 0.8, atol=1e-6)


def test_class_maps_hold_the_class_of_the_nearest_column(rng):
    xy = np.array([[20.3, 20.1], [29.8, 20.0], [60.0, 44.0]])
    maps = to_maps(xy, (64, 80), np.array([4, 2, -1]))
    y, x = np.mgrid[:64, :80]
    distance = np.hypot(x[..., None] - xy[:, 0], y[..., None] - xy[:, 1])
    nearest = np.array([4, 2, -1])[distance.argmin(-1)]
    near = distance.min(-1) <= REACH - 0.01
    inner = near & (np.abs(distance[..., 0] - distance[..., 1]) > 0.5)
    np.testing.assert_array_equal(maps.label[inner], nearest[inner])
    assert np.all(maps.label[distance.min(-1) > REACH + 0.01] == -1)


class TestRecipes:
    """Recipes; loading one needs no torch."""

    def test_every_recipe_of_the_package_builds_its_world(self):
        from atomscope.simulate.dataset import patch
        from atomscope.train.settings import RECIPES, TrainingRecipe

        for path in RECIPES.glob("*.yaml"):
            recipe = TrainingRecipe.load(path)
            world = recipe.phases[-1].world.world(recipe.class_names)
            label = patch(np.random.default_rng(1), 64, world).label
            assert label.max(initial=-1) < max(len(recipe.classes), 1)

    def test_a_structure_gives_a_class_per_species_and_the_vacancy(self):
        from atomscope.train.structure import recipe_for

        assert recipe_for("1H-WS2").class_names == ("W", "S2", "vacancy")
        # oxygen of SrTiO3 [001] is too faint for a dark field
        assert set(recipe_for("SrTiO3").class_names) == {"Sr", "TiO", "vacancy"}

    @pytest.mark.parametrize(
        ("text", "zone"),
        [
            ("001", (0, 0, 1)),
            ("1-10", (1, -1, 0)),
            ("[1, 1, -2]", (1, 1, -2)),
            ("1 1 0", (1, 1, 0)),
        ],
    )
    def test_zone_axes_are_read(self, text, zone):
        from atomscope.train.structure import parse_zone

        assert parse_zone(text) == zone

    @pytest.mark.parametrize("text", ["", "000", "11", "abc", "1100", "1.5 0 0"])
    def test_other_zone_axes_are_refused(self, text):
        from atomscope.train.structure import parse_zone

        with pytest.raises(UsageError, match="zone"):
            parse_zone(text)

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("stepps: 3", "stepps"),
            ("start: universal", "fold"),
            ("phases: [{world: {changes: [{at: A, becomes: B, weight: [0, 0]}]}}]", "declared"),
        ],
    )
    def test_wrong_recipes_get_one_line(self, tmp_path, line, complaint):
        from atomscope.train.settings import TrainingRecipe

        path = tmp_path / "recipe.yaml"
        path.write_text(f"name: wrong\n{line}\n")
        with pytest.raises(UsageError, match=complaint) as caught:
            TrainingRecipe.load(Path(path))
        assert "\n" not in str(caught.value)
