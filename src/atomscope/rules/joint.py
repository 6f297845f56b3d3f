"""Chemistry and the picture decide together: what cannot be is taken out, what was missed returns.

The detector gives each atom a probability without knowing what stands beside it. On a lattice
nearly every site is taken, so weak evidence is enough there; between the sites of a lattice
nearly nothing is, and strong evidence is asked for. Both follow from Bayes' rule on the odds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.columns import conform, has_flag, positions
from atomscope.lattice import Lattice, empty_sites
from atomscope.rules.findings import Bools, Floats

TOO_NEAR = 0.6  # spacings between neighbours: no two atoms of one kind stand so near
_ON_SITE = 0.35  # spacings: a candidate so near to an empty site is the atom of it
_TAKEN = 100.0  # odds for a site of a host to be taken: one vacancy in a hundred is a bad crystal
_LEAST = 0.5
_BROAD, _BRIGHT = 1.1, 1.8  # times the usual: a column that may be several
_SHOWN, _TRACE = 0.45, 0.07  # of the brightness of a sublattice; vanadium shows 0.15 of tungsten
_LIGHTEST = 0.2  # of the weakest sublattice: lithium shows 0.3 of carbon


@dataclass(frozen=True)
class Joint:
    """What chemistry changed.

    Attributes:
        atoms: The table without what was vetoed, with what was brought back ('recalled' in
            flags; unrefined).
        vetoed: Rows that were taken out.
        recalled: Rows that came back; `p` is what the picture and the lattice say together.
    """

    atoms: pd.DataFrame
    vetoed: pd.DataFrame
    recalled: pd.DataFrame


def reconcile(
    rows: pd.DataFrame, weak: pd.DataFrame, lattice: Lattice | None, shape: tuple[int, int]
) -> Joint:
    """Veto and recall atoms of one frame.

    Args:
        rows: Atoms of the frame.
        weak: Candidates below the threshold, with x_px, y_px and p.
        lattice: Of the rows; without one nothing is changed.
        shape: Of the frame, (y, x).
    """
    none = rows.iloc[:0]
    if lattice is None or len(rows) < 2:
        return Joint(rows, none, none)
    xy = positions(rows)
    out = _intruders(rows, xy, lattice)
    kept = rows[~out] if out.any() else rows
    sites = empty_sites(lattice, xy, shape)
    back = _missed(kept, weak, lattice, sites)
    back = pd.concat([back, _hidden(kept, back, lattice, sites)])
    number = int(rows["atom"].max()) + 1
    back = back.assign(atom=np.arange(number, number + len(back)))
    atoms = pd.concat([kept, back], ignore_index=True) if len(back) else kept.reset_index(drop=True)
    return Joint(atoms, rows[out].reset_index(drop=True), back)


def _intruders(rows: pd.DataFrame, xy: Floats, lattice: Lattice) -> Bools:
    """Atoms of no site, too near to another one, that the picture does not insist on."""
    out = np.zeros(len(rows), dtype=bool)
    p = rows["p"].to_numpy(float)
    bright = _signal(rows)
    typical = np.nanmedian(bright[lattice.member]) if lattice.member.any() else np.nan
    for i, j in sorted(cKDTree(xy).query_pairs(TOO_NEAR * lattice.spacing)):
        if out[i] or out[j]:
            continue
        weaker = _weaker(i, j, lattice, p, bright)
        heavier = bright[weaker] > typical  # an atom on top is as bright as its element
        if odds(p[weaker]) / _TAKEN < odds(_LEAST) and not heavier:
            out[weaker] = True
    return out


def _weaker(i: int, j: int, lattice: Lattice, p: Floats, bright: Floats) -> int:
    """Of two atoms: the one of no site, else the less probable one, else the darker one."""
    rank = [(bool(lattice.member[k]), p[k], np.nan_to_num(bright[k]), -k) for k in (i, j)]
    return i if rank[0] < rank[1] else j


def _missed(
    rows: pd.DataFrame, weak: pd.DataFrame, lattice: Lattice, sites: Floats
) -> pd.DataFrame:
    if len(sites) == 0 or len(weak) == 0:
        return rows.iloc[:0]
    places = positions(weak)
    distance, nearest = cKDTree(places).query(sites)
    p = posterior(weak["p"].to_numpy(float)[nearest])
    good = (distance < _ON_SITE * lattice.spacing) & (p >= _LEAST)
    chosen = np.unique(nearest[good])
    back = weak.iloc[chosen]
    return back.assign(p=posterior(back["p"].to_numpy(float)), flags="recalled")


def _hidden(
    rows: pd.DataFrame, back: pd.DataFrame, lattice: Lattice, sites: Floats
) -> pd.DataFrame:
    """Sites beside a bright and broad atom: it may stand on top of theirs, as one with them.

    Whether there are atoms the fit tells (`too_dim`).
    """
    if "width" not in rows or not np.isfinite(rows["width"].to_numpy(float)).any():
        return rows.iloc[:0]
    bright, width = _signal(rows), rows["width"].to_numpy(float)
    broad = (width > _BROAD * np.nanmedian(width)) & (
        bright > _BRIGHT * np.nanmedian(_signal(rows))
    )
    if not broad.any() or len(sites) == 0:
        return rows.iloc[:0]
    own = positions(rows)
    near = cKDTree(own[broad]).query(sites)[0] < TOO_NEAR * lattice.spacing
    taken = positions(back)
    if len(taken):
        near &= cKDTree(taken).query(sites)[0] > _ON_SITE * lattice.spacing
    found = conform(pd.DataFrame(sites[near], columns=["x_px", "y_px"]))
    found = found.reindex(columns=rows.columns)  # a table of few columns stays one
    p = posterior(np.full(len(found), _LEAST))
    return found.assign(frame=rows["frame"].iloc[0], p=p, flags="recalled")


def too_dim(rows: pd.DataFrame, lattice: Lattice | None) -> Bools:
    """Atoms whose fit holds too little brightness for their sublattice, shape (N,).

    A network that knows lattices sees a little of an atom on every site. What was brought back must
    show at least `_SHOWN` of what others on its sublattice do, and the detector's own atoms
    `_TRACE` of it and `_LIGHTEST` of the weakest one, unless it may be more within five standard
    errors. Atoms of no site are compared with the weakest sublattice.

    Args:
        rows: Refined atoms of one frame; 'recalled' in flags marks those brought back.
        lattice: Of these rows.
    """
    bright = _signal(rows)
    error = rows["intensity_err"].to_numpy(float)
    recalled = has_flag(rows, "recalled")
    if lattice is None:
        return recalled
    sites = [bright[lattice.sublattice == site] for site in range(len(lattice.basis))]
    of_site = np.array([np.nanmedian(b) if np.isfinite(b).any() else np.nan for b in sites])
    if not np.isfinite(of_site).any():
        return recalled
    typical = np.where(lattice.member, of_site[lattice.sublattice], np.nanmin(of_site))
    dark = ~(bright >= _SHOWN * typical)
    least = np.maximum(_TRACE * typical, _LIGHTEST * np.nanmin(of_site))
    trace = (bright < least) & ~(typical - bright <= 5 * error)
    return np.asarray((recalled & dark) | trace)


def _signal(rows: pd.DataFrame) -> Floats:
    """Intensities, turned where dark atoms have negative ones."""
    bright = rows["intensity"].to_numpy(float)
    middle = np.nanmedian(bright) if np.isfinite(bright).any() else 1.0
    return -bright if middle < 0 else bright


def odds(p: Floats | float) -> Floats:
    """Odds of a probability, finite."""
    clipped = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(clipped / (1 - clipped))


def posterior(p: Floats) -> Floats:
    """Probability of an atom on a site of the host, from that of the picture alone."""
    both = odds(p) * _TAKEN
    return np.asarray(both / (1 + both))
