"""A defect as a pattern of changed sites, relaxed once, that can be laid anywhere on its host.

Relaxation moves only what is within reach of a defect, so that a pattern has an end. Where the
outer parts of two patterns overlap, their displacements add, as they do in linear elasticity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from atomscope.errors import UsageError
from atomscope.simulate.bonds import wrapped
from atomscope.simulate.materials import material
from atomscope.simulate.named_kinds import HOSTS, NAMES, Kind
from atomscope.simulate.relax import relax
from atomscope.simulate.scene import Floats, Ints
from atomscope.simulate.sheets import Sheet, supercell

EDGE = 40.0  # Å: of the periodic sheet in which a defect relaxes
STILL = 1e-6  # Å: sites that move less are not part of a pattern
ON_SITE = 0.02  # Å
SURROUNDINGS = 4.0  # Å: sites this near tell how a pattern may be turned, changed or not
CORE = 2.0  # Å: extent of a point defect


@dataclass(frozen=True)
class Template:
    """A relaxed defect, or two, relative to the site (0, 0, 0) that it was built at.

    Attributes:
        names: Name of each defect.
        middle: Middle (D, 3) of each in Å.
        extent: Distance in Å, beyond that of a point defect, from their middle to the farthest
            atom or empty site.
        site: Perfect positions (N, 3) of the sites that change, the first one (0, 0, 0).
        was: Atomic numbers (N,) of the host there.
        becomes: Atomic numbers (N,) in the defect, 0 for an atom that goes.
        shift: Displacements (N, 3).
        owner: Number (N,) of the defect that the site belongs to, -1 for none.
        fresh: Positions (F, 3) of atoms on no site of the host.
        fresh_number: Their atomic numbers (F,).
        fresh_owner: The defects (F,) that they belong to.
    """

    names: tuple[str, ...]
    middle: Floats
    extent: float
    site: Floats
    was: Ints
    becomes: Ints
    shift: Floats
    owner: Ints
    fresh: Floats
    fresh_number: Ints
    fresh_owner: Ints

    def turned(self, turn: Floats) -> Template:
        """Return it turned or mirrored by a matrix (3, 3)."""
        middle, site, shift, fresh = (
            part @ turn.T for part in (self.middle, self.site, self.shift, self.fresh)
        )
        return replace(self, middle=middle, site=site, shift=shift, fresh=fresh)


@dataclass(frozen=True)
class Laid:
    """Atoms of a sheet with defects on it.

    Attributes:
        positions: (N, 3) in Å.
        numbers: Atomic numbers (N,).
        owner: Number (N,) of the defect that each belongs to, -1 for none.
        names: Name of each defect.
        middle: Middle (D, 3) of each in Å.
    """

    positions: Floats
    numbers: Ints
    owner: Ints
    names: tuple[str, ...] = ()
    middle: Floats = field(default_factory=lambda: np.zeros((0, 3)))


def kind_of(host: str, name: str) -> Kind:
    """Return a kind by its name.

    Raises:
        UsageError: The host has no such kind, or there is no such host.
    """
    if host not in HOSTS:
        raise UsageError(f"host {host!r}: expected one of {', '.join(HOSTS)}.")
    for kind in HOSTS[host]:
        if kind.name == name:
            return kind
    known = ", ".join(kind.name for kind in HOSTS[host])
    raise UsageError(f"kind {name!r}: expected one of {known} in {host}.")


@cache
def template(host: str, name: str, variant: int = 0) -> Template:
    """Build a defect in a sheet of its own, and relax it."""
    kind = kind_of(host, name)
    perfect = supercell(material(host).atoms, (EDGE, EDGE))
    perfect.atoms.new_array("site", np.arange(1, len(perfect.atoms) + 1))
    middle = perfect.atoms.cell[:2, :2].sum(axis=0) / 2
    anchor = perfect.nearest((float(middle[0]), float(middle[1])), kind.site)
    relaxed = relax(kind.builds[variant](perfect, anchor))
    return _compared(perfect, relaxed, anchor, NAMES[host])


def _compared(perfect: Sheet, relaxed: Sheet, anchor: int, names: Mapping[str, str]) -> Template:
    """Return what a defect has changed of a perfect sheet; `names` are those of its kinds."""
    atoms, origin = relaxed.atoms, perfect.atoms.positions[anchor]
    site = atoms.arrays["site"] - 1  # -1: on none
    owner = np.full(len(atoms), -1)
    for number, defect in enumerate(relaxed.defects):
        owner[list(defect.atoms)] = number
    on, fresh = np.flatnonzero(site >= 0), np.flatnonzero(site < 0)
    count = len(perfect.atoms)
    shift, becomes, owners = np.zeros((count, 3)), np.zeros(count, int), np.full(count, -1)
    moved = atoms.positions[on] - perfect.atoms.positions[site[on]]
    shift[site[on]] = wrapped(atoms, moved)
    becomes[site[on]], owners[site[on]] = atoms.numbers[on], owner[on]
    changed = (becomes != perfect.atoms.numbers) | (owners >= 0)
    changed |= np.linalg.norm(shift, axis=1) > STILL
    changed |= np.linalg.norm(perfect.away(anchor), axis=1) < SURROUNDINGS
    at = np.flatnonzero(changed)
    at = np.concatenate([[anchor], at[at != anchor]])
    away = wrapped(atoms, perfect.atoms.positions[at] - origin)
    core = away[(owners[at] >= 0) | (becomes[at] == 0)]
    added = wrapped(atoms, atoms.positions[fresh] - origin)
    middle = np.array([_middle(relaxed, k, origin) for k in range(len(relaxed.defects))])
    reach = np.linalg.norm((np.concatenate([core, added]) - middle.mean(axis=0))[:, :2], axis=1)
    return Template(
        tuple(names[defect.name] for defect in relaxed.defects),
        middle,
        max(float(reach.max()) - CORE, 0.0),
        away,
        perfect.atoms.numbers[at],
        becomes[at],
        shift[at],
        owners[at],
        added,
        atoms.numbers[fresh],
        owner[fresh],
    )


def _middle(sheet: Sheet, number: int, origin: Floats) -> Floats:
    """Mean place (3,) of the atoms of a defect; those around an empty site are among them."""
    here = sheet.atoms.positions[list(sheet.defects[number].atoms)]
    return np.asarray(wrapped(sheet.atoms, here - origin).mean(axis=0))


def random_turn(rng: np.random.Generator) -> Floats:
    """Return a turn by a multiple of 60°, with a mirror or without, as a matrix (3, 3)."""
    angle, flip = rng.integers(6) * np.pi / 3, rng.choice([-1.0, 1.0])
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s * flip, 0.0], [s, c * flip, 0.0], [0.0, 0.0, 1.0]])


def fits(host: Laid, tree: Any, pattern: Template, site: int) -> bool:
    """Whether an atom of a host has all the neighbours that a pattern expects."""
    distance, index = tree.query(host.positions[site] + pattern.site)
    return bool(distance.max() < ON_SITE and np.all(host.numbers[index] == pattern.was))


def lay(host: Laid, chosen: list[tuple[int, Template]], tree: Any) -> Laid:
    """Lay patterns, turned as they shall be, on atoms of a perfect host.

    Args:
        host: Perfect sheet.
        chosen: The atom that each pattern is laid on, and the pattern.
        tree: Of the positions of the host.
    """
    positions, numbers, owner = host.positions.copy(), host.numbers.copy(), host.owner.copy()
    fresh, fresh_number, fresh_owner = [np.zeros((0, 3))], [np.zeros(0, int)], [np.zeros(0, int)]
    names: list[str] = []
    middle = [np.zeros((0, 3))]
    for atom, pattern in chosen:
        origin, first = host.positions[atom], len(names)
        at = tree.query(origin + pattern.site)[1]
        positions[at] += pattern.shift
        other = pattern.becomes != pattern.was
        numbers[at[other]] = pattern.becomes[other]
        owned = pattern.owner >= 0
        owner[at[owned]] = first + pattern.owner[owned]
        fresh.append(origin + pattern.fresh)
        fresh_number.append(pattern.fresh_number)
        fresh_owner.append(first + pattern.fresh_owner)
        names += pattern.names
        middle.append(origin + pattern.middle)
    left = numbers > 0
    return Laid(
        np.concatenate([positions[left], *fresh]),
        np.concatenate([numbers[left], *fresh_number]),
        np.concatenate([owner[left], *fresh_owner]),
        tuple(names),
        np.concatenate(middle),
    )
