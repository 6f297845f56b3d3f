"""Specimens for the simulated test sets: real crystals along zone axes, as columns of atoms.

None of these materials is part of the training world. A column is a position in Å (x right,
y down, any origin) with a weight: the sum of Z^1.6 of its atoms, to which the dark-field signal
is about proportional (Krivanek et al., Nature 464, 571 (2010) find 1.64).

Sources of lattice constants: [W] Wyckoff, Crystal Structures (1963); others beside the entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
EXPONENT = 1.6
SAME_COLUMN = 0.3  # Å: atoms nearer than this in projection are one column


@dataclass(frozen=True)
class Probe:
    """Voltage (kV), convergence semi-angle (mrad), and width of source and vibration (Å, sigma)."""

    kilovolts: float
    milliradians: float
    blur: float

    @property
    def wavelength(self) -> float:
        """Relativistic wavelength in Å."""
        volts = self.kilovolts * 1e3
        return float(12.2643 / np.sqrt(volts * (1 + 0.978476e-6 * volts)))


@dataclass(frozen=True)
class Columns:
    """Columns within a square field: positions (N, 2) in Å, weights (N,), and a support.

    Attributes:
        xy: Positions in Å.
        weight: Sum of Z^1.6 over the atoms of each column.
        support_xy: Atoms of an amorphous support in Å, not to be found.
        support_weight: Their weights.
    """

    xy: Array
    weight: Array
    support_xy: Array
    support_weight: Array


@dataclass(frozen=True)
class World:
    """A material along a zone axis, seen with one probe.

    Attributes:
        name: Material and zone axis.
        probe: Illumination.
        build: Makes the columns within a field of the given edge in Å.
    """

    name: str
    probe: Probe
    build: Callable[[float, np.random.Generator], Columns]


TWO_D = Probe(80, 32, 0.12)
BULK = Probe(300, 26, 0.15)
SHARP = Probe(300, 30, 0.12)
WIDE = Probe(200, 23, 0.18)


def crystal(
    name: str, zone: Sequence[int], *, thickness: float | None
) -> Callable[[float, np.random.Generator], Columns]:
    """A perfect crystal in a random in-plane orientation; thickness in Å, None for one period."""

    def build(edge: float, rng: np.random.Generator) -> Columns:
        xy, weight = project(name, zone, edge * 1.5, thickness)
        return _cut(_turn(xy, rng.uniform(0, 2 * np.pi)), weight, edge, rng)

    return build


def project(
    name: str, zone: Sequence[int], extent: float, thickness: float | None
) -> tuple[Array, Array]:
    """Columns of a crystal looked at along a zone axis, within a square of the given edge."""
    atoms = _unit_cell(name)
    cell = atoms.cell.array
    axis = np.asarray(zone, float) @ cell
    period = float(np.linalg.norm(axis))
    to_beam = _rotation(axis / period)
    reach = extent / 2 + np.abs(cell).sum(axis=0).max()
    span = np.ceil((reach + period) / np.linalg.norm(cell, axis=1) * 2).astype(int)
    if atoms.pbc[2]:
        shifts = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in span]), -1).reshape(-1, 3)
    else:
        flat = np.meshgrid(*[np.arange(-n, n + 1) for n in span[:2]])
        shifts = np.stack([*flat, np.zeros_like(flat[0])], -1).reshape(-1, 3)
    # Drop far cells before the atoms are made: most of the block is not in the slab of one period.
    origins = shifts @ cell @ to_beam.T
    near = (np.abs(origins[:, :2]) < reach).all(axis=1)
    if atoms.pbc[2]:
        near &= np.abs(origins[:, 2]) < period + np.linalg.norm(cell, axis=1).sum()
    places = (origins[near][:, None] + (atoms.positions @ to_beam.T)[None]).reshape(-1, 3)
    weight = np.tile(atoms.numbers.astype(float) ** EXPONENT, near.sum())
    keep = (np.abs(places[:, :2]) < extent / 2).all(axis=1)
    if atoms.pbc[2]:
        keep &= (places[:, 2] >= -1e-6) & (places[:, 2] < period - 1e-6)
    xy, merged = merge(places[keep, :2], weight[keep], SAME_COLUMN)
    return xy, merged * (thickness / period if thickness else 1.0)


def merge(xy: Array, weight: Array, distance: float) -> tuple[Array, Array]:
    """Join positions nearer than a distance (chains included) into their weighted mean."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    if len(xy) < 2:
        return xy, weight
    pairs = KDTree(xy).query_pairs(distance, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(xy), len(xy)))
    count, group = connected_components(links, directed=False)
    total = np.bincount(group, weights=weight, minlength=count)
    mean = [np.bincount(group, weights=weight * axis, minlength=count) / total for axis in xy.T]
    return np.stack(mean, axis=1), total


def grain_boundary(edge: float, rng: np.random.Generator) -> Columns:
    """Two grains of MoS2 tilted by 21.8 degrees, one in twelve of the sulfur sites defective."""
    xy, weight = project("1H-MoS2", (0, 0, 1), edge * 1.6, None)
    tilt = np.deg2rad(21.8)
    wall = np.deg2rad(rng.uniform(0, 180))
    normal = np.array([np.cos(wall), np.sin(wall)])
    offset = np.array([0.7, 0.4])  # an arbitrary translation of one grain
    left, right = _turn(xy, wall - tilt / 2), _turn(xy + offset, wall + tilt / 2)
    # 0.6 Å on each side of the wall keep the grains from overlapping.
    in_left, in_right = left @ normal < -0.6, right @ normal > 0.6
    xy = np.concatenate([left[in_left], right[in_right]])
    weight = np.concatenate([weight[in_left], weight[in_right]])
    sulfur = weight < 300
    one = sulfur & (rng.uniform(size=len(xy)) < 1 / 15)
    both = sulfur & (rng.uniform(size=len(xy)) < 1 / 60)
    weight = np.where(one, weight / 2, weight)
    return _cut(xy[~both], weight[~both], edge, rng)


def nanoparticle(edge: float, rng: np.random.Generator) -> Columns:
    """A truncated octahedron of Pt along [110] on 4 nm of amorphous carbon."""
    from ase.build import bulk

    block = bulk("Pt", "fcc", a=3.9242, cubic=True).repeat(24)
    places = block.positions - block.positions.mean(axis=0) + rng.uniform(-1, 1, 3)
    radius = 0.36 * edge
    octahedron = np.abs(places).sum(axis=1) < 1.45 * radius
    cube = np.abs(places).max(axis=1) < 1.05 * radius
    turned = places[octahedron & cube] @ _rotation(np.array([1.0, 1.0, 0.0]) / np.sqrt(2)).T
    xy, weight = merge(turned[:, :2], np.full(len(turned), 78.0**EXPONENT), SAME_COLUMN)
    support = _carbon(edge, 40.0, rng)
    return _cut(_turn(xy, rng.uniform(0, 2 * np.pi)), weight, edge, rng, support)


def single_atoms(edge: float, rng: np.random.Generator) -> Columns:
    """Single Pt atoms, 0.04 per Å^2, on 5 nm of amorphous carbon of uneven thickness."""
    xy = rng.uniform(-edge, edge, (int(0.04 * (2 * edge) ** 2), 2))
    weight = np.full(len(xy), 78.0**EXPONENT)
    return _cut(xy, weight, edge, rng, _carbon(edge, 50.0, rng))


def _carbon(edge: float, thickness: float, rng: np.random.Generator) -> Array:
    """Amorphous carbon of 2.0 g/cm^3 (0.1 atoms per Å^3), half as thick at one side."""
    half = edge / 2 + 4
    xy = rng.uniform(-half, half, (int(0.1 * thickness * (2 * half) ** 2), 2))
    return xy[rng.uniform(size=len(xy)) < 0.75 + 0.25 * xy[:, 0] / half]


def _cut(
    xy: Array, weight: Array, edge: float, rng: np.random.Generator, support: Array | None = None
) -> Columns:
    """Shift by a random part of a cell and keep the field with a margin for the probe tails."""
    xy = xy + rng.uniform(-1.5, 1.5, 2)
    inside = (np.abs(xy) < edge / 2 + 4).all(axis=1)
    support = np.empty((0, 2)) if support is None else support
    return Columns(
        xy[inside] + edge / 2,
        weight[inside],
        support + edge / 2,
        np.full(len(support), 6.0**EXPONENT),
    )


def _turn(xy: Array, angle: float) -> Array:
    cosine, sine = np.cos(angle), np.sin(angle)
    return xy @ np.array([[cosine, sine], [-sine, cosine]])


def _rotation(direction: Array) -> Array:
    """Rotation that brings a unit vector to z."""
    helper = np.eye(3)[np.argmin(np.abs(direction))]
    x = np.cross(helper, direction)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(direction, x), direction])


def _unit_cell(name: str):
    """Conventional cells; single layers are not periodic along z."""
    if name in LAYERS:
        return _layer(*LAYERS[name])
    from ase import Atoms
    from ase.build import bulk
    from ase.spacegroup import crystal as from_spacegroup

    if name == "phosphorene":  # Brown and Rundqvist, Acta Cryst. 19, 684 (1965): one layer
        a, b, c, y, z = 3.3136, 10.478, 4.3763, 0.10168, 0.08056
        sites = [(0, z, y), (0, -z, -y), (0.5, 0.5 + z, -y), (0.5, 0.5 - z, y)]
        places = [(u * a, v * c, w * b) for u, v, w in sites]
        cell = Atoms("P4", places, cell=(a, c, 20), pbc=(True, True, False))
    elif name == "SrTiO3":  # Okazaki and Kawaminami, Mater. Res. Bull. 8, 545 (1973)
        sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
        cell = Atoms("SrTiO3", scaled_positions=sites, cell=[3.905] * 3, pbc=True)
    elif name == "TiO2":  # Abrahams and Bernstein, J. Chem. Phys. 55, 3206 (1971)
        sites = [(0, 0, 0), (0.3048, 0.3048, 0)]
        edges = [4.593, 4.593, 2.959, 90, 90, 90]
        cell = from_spacegroup(["Ti", "O"], sites, spacegroup=136, cellpar=edges)
    elif name == "GaN":  # Schulz and Thiemann, Solid State Commun. 23, 815 (1977)
        cell = bulk("GaN", "wurtzite", a=3.190, c=5.189, u=0.377)
    else:
        structure, edge = CUBIC[name]
        cell = bulk(name, structure, a=edge, cubic=True)
    return cell


def _layer(a: float, sites: Sequence[tuple[str, float, float, float]]):
    """Hexagonal layer: symbols with fractions u, v of the cell and height in Å."""
    from ase import Atoms

    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, 20.0]])
    places = [np.array([u, v, 0]) @ cell + [0, 0, z] for _, u, v, z in sites]
    return Atoms([site[0] for site in sites], places, cell=cell, pbc=(True, True, False))


A, B = 1 / 3, 2 / 3
LAYERS = {
    # Castro Neto et al., Rev. Mod. Phys. 81, 109 (2009)
    "graphene": (2.46, [("C", 0, 0, 0), ("C", A, B, 0)]),
    # Paszkowicz et al., Appl. Phys. A 75, 431 (2002)
    "hBN": (2.504, [("B", 0, 0, 0), ("N", A, B, 0)]),
    # Wildervanck and Jellinek, Z. Anorg. Allg. Chem. 328, 309 (1964)
    "1H-MoS2": (3.16, [("Mo", 0, 0, 0), ("S", A, B, 1.58), ("S", A, B, -1.58)]),
    # Spijkerman et al., Phys. Rev. B 56, 13757 (1997), averaged cell
    "1T-TaS2": (3.367, [("Ta", 0, 0, 0), ("S", A, B, 1.5), ("S", B, A, -1.5)]),
}
CUBIC = {
    "Si": ("diamond", 5.4310),  # CODATA 2018
    "Au": ("fcc", 4.0786),  # [W]
    "Al": ("fcc", 4.0496),  # [W]
    "Fe": ("bcc", 2.8665),  # [W]
    "GaAs": ("zincblende", 5.6533),  # Blakemore, J. Appl. Phys. 53, R123 (1982)
    "MgO": ("rocksalt", 4.2112),  # Hazen, Am. Mineral. 61, 266 (1976)
    "CeO2": ("fluorite", 5.411),  # Kümmerle and Heger, J. Solid State Chem. 147, 485 (1999)
}
THIN = 60.0  # Å
WORLDS: tuple[World, ...] = (
    World("graphene", TWO_D, crystal("graphene", (0, 0, 1), thickness=None)),
    World("hBN", TWO_D, crystal("hBN", (0, 0, 1), thickness=None)),
    World("1H-MoS2", TWO_D, crystal("1H-MoS2", (0, 0, 1), thickness=None)),
    World("1T-TaS2", TWO_D, crystal("1T-TaS2", (0, 0, 1), thickness=None)),
    World("phosphorene", Probe(200, 40, 0.1), crystal("phosphorene", (0, 0, 1), thickness=None)),
    World("SrTiO3 [001]", BULK, crystal("SrTiO3", (0, 0, 1), thickness=THIN)),
    World("SrTiO3 [110]", BULK, crystal("SrTiO3", (1, 1, 0), thickness=THIN)),
    World("Si [110]", WIDE, crystal("Si", (1, 1, 0), thickness=THIN)),
    World("GaAs [110]", WIDE, crystal("GaAs", (1, 1, 0), thickness=THIN)),
    World("Au [110]", WIDE, crystal("Au", (1, 1, 0), thickness=THIN)),
    World("Al [100]", WIDE, crystal("Al", (1, 0, 0), thickness=THIN)),
    World("Fe [111]", BULK, crystal("Fe", (1, 1, 1), thickness=THIN)),
    World("TiO2 [001]", SHARP, crystal("TiO2", (0, 0, 1), thickness=THIN)),
    World("MgO [100]", WIDE, crystal("MgO", (1, 0, 0), thickness=THIN)),
    World("GaN [11-20]", SHARP, crystal("GaN", (1, 1, 0), thickness=THIN)),
    World("CeO2 [110]", BULK, crystal("CeO2", (1, 1, 0), thickness=THIN)),
    World("Pt particle on a-C", WIDE, nanoparticle),
    World("Pt atoms on a-C", WIDE, single_atoms),
    World("MoS2 grain boundary", TWO_D, grain_boundary),
)
