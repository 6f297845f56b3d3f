"""Named materials and structure files as `ase.Atoms`.

`materials.yaml` holds the numbers with their sources; its head says how an entry is written.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from atomscope.documents import parse_yaml
from atomscope.errors import InputError, UsageError
from atomscope.simulate.surfaces import das7x7, fcc111

if TYPE_CHECKING:
    from ase import Atoms

VACUUM = 20.0  # Å: c of the cell of a layer
OVERLAP = 0.5  # Å: no two nuclei are nearer than this (H2: 0.74 Å)
ANGLES = {"hexagonal": (90, 90, 120)}
EQUAL = {"cubic": "aaa", "tetragonal": "aac", "hexagonal": "aac", "orthorhombic": "abc"}
SURFACES: Mapping[str, Callable[[str, float], Atoms]] = {"fcc111": fcc111, "das7x7": das7x7}
Kind = Literal["layer", "bulk", "surface"]
Zone = tuple[int, int, int]


@dataclass(frozen=True)
class Material:
    """A crystal, layer or surface that people image.

    Attributes:
        name: Its name in `names()`.
        atoms: One cell. Layers and surfaces lie in the plane of the first two cell vectors and
            are not periodic along the third, which holds vacuum.
        kind: layer, bulk or surface.
        zones: Usual zone axes [uvw], the most usual one first.
        source: Where the lattice constants come from.
    """

    name: str
    atoms: Atoms
    kind: Kind
    zones: tuple[Zone, ...]
    source: str


def names() -> tuple[str, ...]:
    """Return the names of all materials, layers first."""
    return tuple(_data()["materials"])


def material(name: str) -> Material:
    """Return a material by its name; upper and lower case are the same.

    Raises:
        UsageError: There is no such material; the nearest names are given.
    """
    name, known = str(name), {n.lower(): n for n in names()}
    if name.lower() not in known:
        near = [n for n in known.values() if len(name) > 1 and name.lower() in n.lower()]
        near += difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        near = list(dict.fromkeys(known.get(n, n) for n in near))[:4] or ["graphene", "Si", "Au"]
        raise UsageError(f"unknown material {name!r}: nearest are {', '.join(near)}.")
    found = _known(known[name.lower()])
    return Material(found.name, found.atoms.copy(), found.kind, found.zones, found.source)


def made_of(elements: Collection[str]) -> tuple[str, ...]:
    """Return the names of the materials that hold all of some elements."""
    entries = _data()["materials"].items()
    return tuple(name for name, one in entries if set(elements) <= set(one["elements"]))


def structure(path_or_name: str | Path) -> Atoms:
    """Return the cell of a named material, or of a structure file.

    Files: CIF, POSCAR, xyz with a cell and others that ASE reads; YAML with one material,
    written as in `materials.yaml`.

    Raises:
        UsageError: Neither a file nor a name of a material.
        InputError: The file cannot be read, has no cell, an unknown element, or atoms
            nearer than 0.5 Å.
    """
    path = Path(path_or_name)
    if not path.is_file():
        if path.suffix or len(path.parts) > 1:
            raise UsageError(f"structure {path}: no such file; expected CIF, POSCAR or a name.")
        return material(str(path_or_name)).atoms
    own = path.suffix.lower() in (".yaml", ".yml")
    return check(_read_yaml(path) if own else _read(path), path.name)


def check(atoms: Atoms, name: str) -> Atoms:
    """Return the atoms as they are if they can be a crystal.

    Raises:
        InputError: No atoms, no cell, unknown elements, or atoms nearer than 0.5 Å.
    """
    from ase.neighborlist import neighbor_list

    if len(atoms) == 0:
        raise InputError(f"{name}: holds no atoms; expected a crystal structure.")
    if np.any(atoms.numbers == 0):
        raise InputError(f"{name}: unknown element 'X'; name the element of every atom.")
    if atoms.cell.rank < 3:
        raise InputError(f"{name}: no cell; expected three cell vectors, as in CIF or POSCAR.")
    first, second, distance = neighbor_list("ijd", atoms, OVERLAP)
    if len(first):
        worst = int(np.argmin(distance))
        raise InputError(
            f"{name}: atoms {first[worst] + 1} and {second[worst] + 1} are {distance[worst]:.2f} Å "
            f"apart; expected {OVERLAP} Å or more. Check the cell and double or partial sites."
        )
    return atoms


def _read(path: Path) -> Atoms:
    import warnings

    from ase.io import read

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read(path)
    except KeyError as error:  # what ASE raises for a symbol that is in no periodic table
        raise InputError(f"{path.name}: unknown element {error}; expected symbols as Mo.") from None
    except Exception as error:  # the readers of ASE raise whatever their parsing meets
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path.name}: cannot be read as a structure ({reason}); expected CIF, POSCAR, xyz."
        ) from None
    if isinstance(found, list):
        raise InputError(f"{path.name}: holds no structure; expected CIF, POSCAR, xyz.")
    return found


def _read_yaml(path: Path) -> Atoms:
    expected = "expected one material under 'materials', as in materials.yaml"
    try:
        ((name, entry),) = parse_yaml(path.read_text("utf-8"))["materials"].items()
        return _build(str(name), entry).atoms
    except KeyError as error:
        raise InputError(f"{path.name}: {error} is missing or unknown; {expected}.") from None
    except Exception as error:  # whatever a file of another kind leads to
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path.name}: {reason}; {expected}.") from None


@functools.cache
def _data() -> dict[str, Any]:
    text = resources.files("atomscope.simulate").joinpath("materials.yaml").read_text("utf-8")
    found: dict[str, Any] = parse_yaml(text)
    return found


@functools.cache
def _known(name: str) -> Material:
    return _build(name, _data()["materials"][name])


def _build(name: str, entry: Mapping[str, Any]) -> Material:
    data = _data()
    entry = {**data["prototypes"].get(entry.get("prototype"), {}), **entry}
    source = data["sources"].get(entry["source"], entry["source"])
    if "build" in entry:
        atoms = SURFACES[entry["build"]](entry["elements"][0], entry["a"])
        return Material(name, atoms, "surface", ((0, 0, 1),), source)
    zones = tuple((int(u), int(v), int(w)) for u, v, w in entry["zones"].split())
    return Material(name, _crystal(entry), entry["kind"], zones, source)


def _crystal(entry: Mapping[str, Any]) -> Atoms:
    from ase.spacegroup import crystal

    layer = entry["kind"] == "layer"
    edges = {**entry, "c": VACUUM} if layer else entry
    cell = [*(edges[k] for k in EQUAL[entry["cell"]]), *ANGLES.get(entry["cell"], (90, 90, 90))]
    symbols, basis = [], []
    for symbol, sites in zip(entry["elements"], entry["sites"], strict=True):
        for site in sites:
            x, y, z = (_number(word, entry) for word in site)
            symbols.append(symbol)
            basis.append((x, y, 0.5 + z / VACUUM if layer else z))
    atoms = crystal(
        symbols, basis, spacegroup=entry["group"], setting=entry.get("setting", 1), cellpar=cell
    )
    atoms.info.clear()
    atoms.arrays.pop("spacegroup_kinds", None)
    atoms.pbc = (True, True, not layer)
    return atoms


def _number(word: Any, entry: Mapping[str, Any]) -> float:
    """Value of one coordinate: a number, a fraction, or the name of a parameter."""
    return float(entry[word]) if word in entry else float(Fraction(str(word)))
