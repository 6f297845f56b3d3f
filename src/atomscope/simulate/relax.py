"""Local relaxation: harmonic springs on bonds and angles, in the manner of Keating.

The energy is E = ½ Σ (r / d - 1)² + ½ β Σ (cos θ - cos θ₀)² + ½ γ Σ (Σ u_z)²: over the bonds
with their lengths r and ideal lengths d, over the angles θ between two bonds of one atom, and,
in layers of one atom's thickness, over the atoms with the unit vectors u of their bonds
(compare Keating, Phys. Rev. 145, 637 (1966)). Atoms that are not bonded repel each other like
a bond that is too short, from 5 % over a bond's length on. Ideal lengths are those of the
perfect crystal; where another element takes a site, they grow as the sum of the covalent radii
does (Cordero et al., Dalton Trans. 2832 (2008)). θ₀ is that angle of the perfect crystal to
which θ is nearest. Atoms with more bonds than in the perfect crystal have no say in angles.
E has no unit: only its minimum is used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atomscope.simulate.bonds import wrapped
from atomscope.simulate.scene import Floats
from atomscope.simulate.springs import Springs, springs_of

if TYPE_CHECKING:
    from atomscope.simulate.sheets import Sheet


def relax(
    sheet: Sheet, *, radius: float = 8.0, calculator: Any = None, force: float = 0.05
) -> Sheet:
    """Let the atoms around the defects settle.

    Args:
        sheet: With its defects; atoms marked `held` stay in place.
        radius: Atoms up to this far in Å from an atom or empty site of a defect may move.
        calculator: An ASE calculator to take instead of the springs.
        force: With a calculator: largest force in eV/Å at the end.
    """
    free = _near(sheet, radius) & ~sheet.atoms.arrays["held"]
    if not free.any():
        return sheet
    atoms = sheet.atoms.copy()
    if calculator is None:
        atoms.positions[free] = _settle(springs_of(sheet, free), atoms.positions, free)
        return replace(sheet, atoms=atoms)
    from ase.constraints import FixAtoms
    from ase.optimize import LBFGS

    atoms.calc = calculator
    atoms.set_constraint(FixAtoms(mask=~free))
    LBFGS(atoms, logfile=None).run(fmax=force, steps=300)
    atoms.set_constraint()
    atoms.calc = None
    return replace(sheet, atoms=atoms)


def _near(sheet: Sheet, radius: float) -> NDArray[np.bool_]:
    positions = sheet.atoms.positions
    places = [positions[list(d.atoms)] for d in sheet.defects] + [d.empty for d in sheet.defects]
    free = np.zeros(len(positions), dtype=bool)
    for place in np.concatenate(places) if places else ():
        free |= np.linalg.norm(wrapped(sheet.atoms, positions - place), axis=1) < radius
    return free


def _settle(springs: Springs, start: Floats, free: NDArray[np.bool_]) -> Floats:
    from scipy.optimize import minimize

    def energy(x: Floats) -> tuple[float, Floats]:
        positions = start.copy()
        positions[free] = x.reshape(-1, 3)
        value, gradient = springs.energy(positions)
        return value, gradient[free].ravel()

    found = minimize(
        energy, start[free].ravel(), jac=True, method="L-BFGS-B", options={"gtol": 1e-5}
    )
    return np.asarray(found.x.reshape(-1, 3))
