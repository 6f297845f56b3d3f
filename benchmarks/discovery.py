"""Discovery: configurations that neither rules nor the training library hold, among known ones.

    python benchmarks/discovery.py [--worlds N] [--hosts NAME ...] [--images N]

A world is one frame with some defects that the rule books name, and three configurations that
they do not hold, `EACH` times each, at random places and in random orientations. The table of
columns has a jitter of 0.03 Å and brightness Z^1.64 with 8 % of noise, or is what
`atomscope.analyze` finds in an image of the frame. A planted configuration is found where a cluster
consists of it (more than half of its occurrences lie on it); what stands above it and is none
of the three is a false cluster. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from ase.data import atomic_numbers
from ase.formula import Formula
from scipy.spatial import cKDTree

from atomscope import analyze, discover
from atomscope.formula import EXPONENT
from atomscope.rules import name_defects
from atomscope.simulate import defects
from atomscope.simulate.crystals import columns_along
from atomscope.simulate.imaging import render, scan_jitter
from atomscope.simulate.materials import material
from atomscope.simulate.named import named_frame
from atomscope.simulate.named_kinds import HOSTS as KINDS
from atomscope.simulate.named_kinds import NAMES, Kind
from atomscope.simulate.sheets import Sheet, noted, without

PIXEL = 0.11  # Å
JITTER, NOISE = 0.03, 0.08  # Å; of log brightness
FIRST_SEED = 84_000  # some from 81_000 and 83_000 on were looked at while it was made
EACH = 6
ON = 3.0  # Å between an occurrence and the middle of what it is taken for
DOSE = 200.0  # counts in the peak pixel of the weakest column of the host


@dataclass(frozen=True)
class World:
    """Atoms and defects as `discover` takes them, and where (N, 2; px) which configuration is."""

    atoms: pd.DataFrame
    defects: pd.DataFrame
    planted: tuple[str, ...]
    places: dict[str, np.ndarray]
    shape: tuple[int, int]


def called(sheet: Sheet, name: str, before: Sheet, middle: np.ndarray) -> Sheet:
    """Join the defects that were made since into one."""
    fresh = sheet.defects[len(before.defects) :]
    atoms = sorted({i for defect in fresh for i in defect.atoms})
    empty = np.concatenate([d.empty for d in fresh])
    return noted(replace(sheet, defects=before.defects), name, atoms, middle, empty)


def hole(sheet: Sheet, atom: int) -> Sheet:
    """An atom and its three neighbours are gone."""
    made = defects.vacancy(sheet, [atom, *sheet.neighbours(atom)])
    return called(made, "hole of four", sheet, sheet.atoms.positions[atom])


def trivacancy(sheet: Sheet, atom: int) -> Sheet:
    """Three atoms in a row are gone, and the open bonds at both ends close: 5-10-5."""
    first, last = sheet.neighbours(atom)[:2]
    gone = [first, atom, last]
    pairs = [[j for j in sheet.neighbours(i) if j != atom] for i in (first, last)]
    empty, middle = sheet.atoms.positions[gone], sheet.atoms.positions[atom]
    left, index = without(sheet, gone)
    closed = np.sort([[int(index[i]) for i in pair] for pair in pairs], axis=1)
    left = replace(left, bonds=np.concatenate([left.bonds, closed]))
    rim = [int(i) for i in closed.ravel()]
    return noted(left, "trivacancy", rim, middle, empty)


def adatoms(sheet: Sheet, atom: int, symbol: str) -> Sheet:
    """Three atoms over the middles of the hexagons around one."""
    made, middle = sheet, sheet.atoms.positions[atom]
    near = sheet.away(atom)[sheet.neighbours(atom)]
    for away in near:
        x, y, _ = middle - away
        made = defects.adatom(made, (float(x), float(y)), symbol)
    return called(made, "adatom trimer", sheet, middle)


def bridge(sheet: Sheet, atom: int, symbol: str) -> Sheet:
    """Two foreign atoms at second-neighbour distance with a vacancy between them."""
    site = sheet.atoms.arrays["site"]
    ends, made = site[sheet.neighbours(atom)[:2]], sheet
    middle, empty = sheet.atoms.positions[atom], site[atom]
    for end in ends:
        made = defects.substitute(made, [made.atoms.arrays["site"].tolist().index(end)], symbol)
    made = defects.vacancy(made, [made.atoms.arrays["site"].tolist().index(empty)])
    return called(made, "foreign pair and vacancy", sheet, middle)


def like(sheet: Sheet, atom: int) -> list[int]:
    """Nearest atoms of the same element and height, in the order of their direction."""
    away = sheet.away(atom)
    distance = np.linalg.norm(away, axis=1)
    other = (sheet.atoms.numbers != sheet.atoms.numbers[atom]) | (np.abs(away[:, 2]) > 0.1)
    distance[other | (distance < 0.1)] = np.inf
    rows = np.flatnonzero(distance < 1.1 * distance.min())
    return [int(i) for i in rows[np.argsort(np.arctan2(away[rows, 1], away[rows, 0]))]]


def dopants(sheet: Sheet, atom: int, symbol: str) -> Sheet:
    """A compact triangle of three foreign metal atoms."""
    made, three = sheet, [atom, *like(sheet, atom)[:2]]
    for site in three:
        made = defects.substitute(made, [site], symbol)
    return called(made, "dopant trimer", sheet, sheet.atoms.positions[three].mean(axis=0))


def dopant_vacancy(sheet: Sheet, atom: int, symbol: str) -> Sheet:
    """A foreign metal atom beside an empty metal site."""
    other = like(sheet, atom)[0]
    made = defects.vacancy(defects.substitute(sheet, [atom], symbol), [other])
    middle = sheet.atoms.positions[atom] + sheet.away(atom)[other] / 2
    return called(made, "dopant and metal vacancy", sheet, middle)


def dopant_open(sheet: Sheet, atom: int, symbol: str) -> Sheet:
    """A foreign metal atom beside an empty chalcogen column."""
    column = sheet.column(sheet.neighbours(atom)[0])
    made = defects.vacancy(defects.substitute(sheet, [atom], symbol), column)
    middle = sheet.atoms.positions[atom] + sheet.away(atom)[column[0]] / 2
    return called(made, "dopant and open column", sheet, middle)


def interstitials(sheet: Sheet, atom: int, symbol: str) -> Sheet:
    """Three foreign atoms in the hollows around a metal atom."""
    near = sheet.away(atom)[sheet.neighbours(atom)]
    flat = np.unique(np.round(near[:, :2], 3), axis=0)
    made, middle = sheet, sheet.atoms.positions[atom]
    for x, y in middle[:2] - flat:
        made = defects.adatom(made, (float(x), float(y)), symbol)
    return called(made, "interstitial trimer", sheet, middle)


PLANTED = {
    "graphene": {
        "hole of four": ("C", hole),
        "trivacancy": ("C", trivacancy),
        "adatom trimer": ("C", partial(adatoms, symbol="Si")),
        "foreign pair and vacancy": ("C", partial(bridge, symbol="O")),
    },
    "1H-MoS2": {
        "dopant trimer": ("Mo", partial(dopants, symbol="W")),
        "dopant and metal vacancy": ("Mo", partial(dopant_vacancy, symbol="W")),
        "dopant and open column": ("Mo", partial(dopant_open, symbol="Re")),
        "interstitial trimer": ("Mo", partial(interstitials, symbol="Mo")),
    },
    "SrTiO3": {
        "dopant corner": "",
        "vacancy between dopants": "",
        "interstitial pair": "",
        "dopant and oxygen vacancy": "",
    },
}
COMMON = {
    "graphene": ("V1", "Si1C3", "V2(5-8-5)", "SW(55-77)", "Si1C4"),
    "1H-MoS2": ("V_S", "V_S2", "V_Mo", "W_Mo", "Re_Mo"),
}
REPEAT, SIZE = 3, 1200


def learned(host: str) -> None:
    """Let the simulator know the planted kinds."""
    names = {kind.name for kind in KINDS[host]}
    for name, (site, build) in PLANTED[host].items():
        if name not in names:
            KINDS[host] += (Kind(name, name, site, (build,)),)  # type: ignore[index]
            NAMES[host][name] = name  # type: ignore[index]


def sheet_world(host: str, seed: int, dose: float | None) -> World:
    """A layer with its known defects and three planted kinds."""
    learned(host)
    rng = np.random.default_rng(seed)
    planted = tuple(rng.choice(list(PLANTED[host]), 3, replace=False).tolist())
    kinds = (*COMMON[host] * REPEAT, *planted * EACH)
    frame = named_frame(host, kinds, seed, size_px=SIZE, pixel_size=PIXEL, dose=dose)
    middles = frame.defects[["x_px", "y_px"]].to_numpy()
    names = frame.defects["name"].to_numpy()
    places = {name: middles[names == name] for name in planted}
    if frame.image is not None:
        species = sorted(set(frame.atoms["species"]), key=len)
        return from_image(frame.image, species, planted, places)
    return measured(frame.atoms, planted, places, (SIZE, SIZE), rng)


def measured(
    atoms: pd.DataFrame,
    planted: tuple[str, ...],
    places: dict[str, np.ndarray],
    shape: tuple[int, int],
    rng: np.random.Generator,
    rules: str | None = None,
) -> World:
    """Table as measured, and its defects by rules."""
    light = {
        s: sum(n * atomic_numbers[e] ** EXPONENT for e, n in Formula(s).count().items())
        for s in set(atoms["species"])
    }
    xy = atoms[["x_px", "y_px"]].to_numpy() + rng.normal(0, JITTER / PIXEL, (len(atoms), 2))
    bright = atoms["species"].map(light).to_numpy() * np.exp(rng.normal(0, NOISE, len(atoms)))
    table = atoms[["species"]].assign(
        frame=0, atom=range(len(atoms)), x_px=xy[:, 0], y_px=xy[:, 1], intensity=bright, p=1.0
    )
    found = name_defects(table, host=rules, shape=shape, pixel_size=PIXEL)
    return World(found.atoms, found.defects, planted, places, shape)


def from_image(
    image: np.ndarray,
    species: list[str],
    planted: tuple[str, ...],
    places: dict[str, np.ndarray],
    rules: str | None = None,
) -> World:
    """End to end."""
    found = analyze(image, pixel_size=PIXEL, elements=species, rules=rules)
    shape = (image.shape[0], image.shape[1])
    return World(found.atoms, found.defects, planted, places, shape)


@dataclass(frozen=True)
class Pattern:
    """Changes of SrTiO3 [001] in units of the cell, from an Sr or TiO column at (0, 0)."""

    site: str
    becomes: tuple[tuple[float, float, str], ...]  # '' for an empty column
    extra: tuple[tuple[float, float, str], ...] = ()


PATTERNS = {
    "dopant corner": Pattern("Sr", ((0, 0, "Dy"), (1, 0, "Dy"), (0, 1, "Dy"))),
    "vacancy between dopants": Pattern("Sr", ((0, 0, ""), (0.5, 0.5, "NbO"), (-0.5, -0.5, "NbO"))),
    "interstitial pair": Pattern("TiO", (), ((0.5, 0.25, "Sr"), (0.5, -0.25, "Sr"))),
    "dopant and oxygen vacancy": Pattern("TiO", ((0, 0, "NbO"), (0.5, 0, ""), (-0.5, 0, ""))),
    "Dy_Sr": Pattern("Sr", ((0, 0, "Dy"),)),
    "NbO_TiO": Pattern("TiO", ((0, 0, "NbO"),)),
    "V_Sr": Pattern("Sr", ((0, 0, ""),)),
    "V_O": Pattern("TiO", ((0.5, 0, ""),)),
}
PUSH = 0.12  # Å: by which the neighbours of a changed column move, less with the distance
APART = 12.0  # Å


def perovskite_world(seed: int, dose: float | None) -> World:
    """SrTiO3 [001] with known point defects and three planted configurations."""
    rng = np.random.default_rng(seed)
    edge = 130.0
    crystal = columns_along(material("SrTiO3").atoms, (0, 0, 1), edge=1.5 * edge)
    a = float(np.linalg.norm(crystal.cell2d[0]))
    xy, species = crystal.xy.copy(), np.array(crystal.species, dtype=object)
    planted = tuple(rng.choice(list(PLANTED["SrTiO3"]), 3, replace=False).tolist())
    angle, flip = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, s], [-s, c]]) @ np.diag([1, flip])
    chosen = np.zeros((0, 2))
    places: dict[str, list[np.ndarray]] = {name: [] for name in planted}
    perfect, tree, base = xy.copy(), cKDTree(xy), species.copy()
    extra: list[tuple[np.ndarray, str]] = []
    for name in (*planted * EACH, *("Dy_Sr", "NbO_TiO", "V_Sr", "V_O") * 4):
        pattern = PATTERNS[name]
        quarter = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), int(rng.integers(4)))
        quarter = quarter @ np.diag([1, rng.choice([-1, 1])])
        inside = np.abs(perfect @ turn).max(axis=1) < edge / 2 - 8.0
        free = cKDTree(chosen).query(perfect)[0] > APART if len(chosen) else np.full(len(xy), True)
        at = int(rng.choice(np.flatnonzero((base == pattern.site) & inside & free)))
        middle = perfect[at]
        chosen = np.vstack([chosen, middle])
        changes = [(tree.query(middle + np.array(w[:2]) @ quarter * a)[1], w[2])
                   for w in pattern.becomes]  # fmt: skip
        core = [perfect[i] for i, _ in changes]
        for i, word in changes:
            species[i] = word
        for *w, word in pattern.extra:
            place = middle + np.array(w) @ quarter * a
            extra.append((place, str(word)))
            core.append(place)
        for place in core:
            away = perfect - place
            distance = np.linalg.norm(away, axis=1).clip(1.0)
            near = (distance < 8.0) & (np.linalg.norm(away, axis=1) > 0.1)
            xy[near] += PUSH * away[near] / distance[near, None] * (1.9 / distance[near, None]) ** 2
        if name in places:
            places[name].append(np.mean(core, axis=0))
    xy = np.concatenate([xy, np.reshape([e[0] for e in extra], (-1, 2))])
    species = np.concatenate([species, np.array([e[1] for e in extra], dtype=object)])
    xy = xy @ turn + edge / 2
    inside = (species != "") & (xy > 0).all(axis=1) & (xy < edge).all(axis=1)
    size = int(edge / PIXEL)
    atoms = pd.DataFrame(xy[inside] / PIXEL, columns=["x_px", "y_px"])
    atoms = atoms.assign(species=species[inside])
    spots = {n: (np.array(p) @ turn + edge / 2) / PIXEL for n, p in places.items()}
    if dose is None:
        return measured(atoms, planted, spots, (size, size), rng, "perovskite")
    numbers = {s: Formula(s).count() for s in set(atoms["species"])}
    light = {s: sum(n * atomic_numbers[e] ** EXPONENT for e, n in c.items())
             for s, c in numbers.items()}  # fmt: skip
    weight = atoms["species"].map(light).to_numpy() / light["O"]
    clean = render(atoms[["x_px", "y_px"]].to_numpy(), weight, 0.42 / PIXEL, (size, size), tail=0.1)
    image = rng.poisson(np.maximum(scan_jitter(clean + 0.35, rng, 0.25), 0) * dose)
    words = sorted(set(atoms["species"]), key=len)
    return from_image(image.clip(0, 65535).astype(np.uint16), words, planted, spots, "perovskite")


WORLDS: dict[str, Callable[[int, float | None], World]] = {
    "graphene": partial(sheet_world, "graphene"),
    "1H-MoS2": partial(sheet_world, "1H-MoS2"),
    "SrTiO3": perovskite_world,
}


@dataclass(frozen=True)
class Score:
    """What was found in one world.

    Attributes:
        ranks: Place in the list of each planted configuration, from 1; 0 where it is not in it.
        false: Clusters of something else above the last of the planted ones (or in all).
        clusters: Length of the list.
        counted: Occurrences counted for each planted configuration.
        spread: Scatter in Å of the mean structures of the planted configurations.
        seconds: CPU time of `discover`.
    """

    ranks: tuple[int, ...]
    false: int
    clusters: int
    counted: tuple[int, ...]
    spread: tuple[float, ...]
    seconds: float

    @property
    def right(self) -> bool:
        """All three were found, with at most one false cluster above."""
        return min(self.ranks) > 0 and self.false <= 1


def scored(world: World) -> Score:
    """Discover, and compare with what was planted."""
    start = time.process_time()
    found = discover(world.atoms, world.defects, pixel_size=PIXEL).table
    seconds = time.process_time() - start
    kinds = [name for name in world.planted for _ in world.places[name]]
    tree = cKDTree(np.concatenate([world.places[name] for name in world.planted]))
    xy = world.atoms.set_index("atom")[["x_px", "y_px"]]
    meant = []
    for row in found["atoms"]:
        votes: Counter[str] = Counter()
        for part in row.split(" | "):
            middle = xy.loc[[int(a) for a in part.split(": ")[1].split()]].to_numpy().mean(axis=0)
            apart, nearest = tree.query(middle)
            votes[kinds[nearest] if apart * PIXEL < ON else ""] += 1
        name, often = votes.most_common(1)[0]
        meant.append(name if often > votes.total() / 2 else "")
    ranks = tuple(meant.index(name) + 1 if name in meant else 0 for name in world.planted)
    above = meant[: max(ranks)] if min(ranks) else meant
    at = [r - 1 for r in ranks if r]
    return Score(
        ranks,
        above.count(""),
        len(meant),
        tuple(found["n"].iloc[at].astype(int)),
        tuple(found["spread"].iloc[at]),
        seconds,
    )


def line(name: str, scores: list[Score]) -> str:
    """One row of a table."""
    right = sum(s.right for s in scores)
    first = sum(sorted(s.ranks) == [1, 2, 3] for s in scores)
    hits = sum(r > 0 for s in scores for r in s.ranks)
    counts = [n for s in scores for n in s.counted]
    spread = [x for s in scores for x in s.spread if np.isfinite(x)]
    cells = [
        name,
        f"{right} of {len(scores)}",
        f"{first}",
        f"{hits} of {3 * len(scores)}",
        f"{np.mean([s.false for s in scores]):.2f}",
        f"{np.mean(counts) if counts else 0:.1f} of {EACH}",
        f"{100 * np.median(spread) if spread else np.nan:.1f} pm",
        f"{np.median([s.seconds for s in scores]):.2f} s",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| host | worlds right | all three first | planted found | false above | counted | scatter "
    "| CPU |\n|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=10, help="tables of each host")
    parser.add_argument("--images", type=int, default=2, help="worlds end to end of each host")
    parser.add_argument("--hosts", nargs="*", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--verbose", action="store_true", help="print a line per world")
    args = parser.parse_args()
    print(HEAD)
    for dose, count in ((None, args.worlds), (DOSE, args.images)):
        for host in args.hosts:
            scores = []
            for k in range(count):
                world = WORLDS[host](FIRST_SEED + k, dose)
                scores.append(scored(world))
                if args.verbose:
                    print(f"{host} {FIRST_SEED + k} {world.planted}: {scores[-1]}", flush=True)
            if scores:
                print(line(host + (", images" if dose else ""), scores), flush=True)


if __name__ == "__main__":
    main()
