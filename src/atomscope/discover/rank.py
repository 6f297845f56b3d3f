"""Clusters of objects, ranked by how often they occur and how surely they are of their own kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import pdtrc

from atomscope.columns import DISCOVERIES, conform, empty, positions
from atomscope.discover.known import Known
from atomscope.discover.mean import Average, average
from atomscope.discover.novelty import Floats, Ints
from atomscope.discover.objects import REACH, Objects

TWICE = 2  # what was seen once does not recur
CHANCE = 0.01  # from which on noise, or named defects that meet, may have made a cluster
UNKNOWN = 0.4  # share of unknown members from which on the names of the others are doubted
SHOWN = 12  # clusters that are averaged


@dataclass(frozen=True, eq=False)
class Found:
    """All that is known of the objects before they are ranked.

    Attributes:
        table: N atoms.
        score: (N,) novelty of each.
        objects: The n objects.
        label: (n,) cluster of each object.
        apart: (n, m) dissimilarities from those that were compared with each other.
        against: (m,) numbers of these.
        known: What rules say of them.
        from_host: (N,) squared distance of each atom from the host.
        values: (N, D) whitened embeddings.
        spacing: Between neighbours in px.
    """

    table: pd.DataFrame
    score: Floats
    objects: Objects
    label: Ints
    apart: Floats
    against: Ints
    known: Known
    from_host: Floats
    values: Floats
    spacing: float

    def sureness(self, members: Ints, cluster: int) -> float:
        """Mean silhouette of a cluster among the others and the host.

        Rousseeuw, J. Comput. Appl. Math. 20, 53 (1987): how much nearer the members are to each
        other than to the next cluster, 0 to 1.
        """
        of = self.label[self.against]
        size = self.values.shape[1]
        total = []
        for m in members:
            own = (of == cluster) & (self.against != m)
            inner = self.apart[m, own].mean() if own.any() else 1.0
            counts = np.bincount(of, minlength=of.max() + 1)
            means = np.bincount(of, self.apart[m], len(counts)) / counts.clip(1)
            others = (counts >= TWICE) & (np.arange(len(counts)) != cluster)
            rows = self.objects.rows[m]
            host = self.from_host[rows].sum() / (size * len(rows))
            nearest = min([host, *means[others]])
            total.append(max(0.0, 1 - inner / max(inner, nearest, 1e-12)))
        return float(np.mean(total))


def ranked(found: Found, pixel_size: float | None) -> tuple[pd.DataFrame, tuple[Average, ...]]:
    """Return the table of `columns.DISCOVERIES` and the mean structures of its first rows."""
    rows: list[dict[str, Any]] = []
    members_of: list[Ints] = []
    for cluster in np.unique(found.label):
        members = np.flatnonzero(found.label == cluster)
        unknown = members[~found.known.known[members]]
        if len(unknown) < TWICE or len(unknown) < UNKNOWN * len(members):
            continue
        chance = _chance(found, members)
        if chance > CHANCE:
            continue
        row = _row(found, members, int(cluster), chance)
        rows.append(row)
        members_of.append(members)
    if not rows:
        return empty(DISCOVERIES), ()
    weight = [(-row["n"] * row["p"], -row["novelty"]) for row in rows]
    order = sorted(range(len(rows)), key=weight.__getitem__)
    rows, members_of = [rows[i] for i in order], [members_of[i] for i in order]
    averages = []
    for row, members in zip(rows[:SHOWN], members_of, strict=False):
        one = _averaged(found, members)
        averages.append(one)
        row["spread_px"] = one.spread
        row["formula"] = _formula(one)
    table = pd.DataFrame(rows).assign(discovery=np.arange(len(rows)))
    if pixel_size is not None:
        table = table.assign(
            x=table["x_px"] * pixel_size, y=table["y_px"] * pixel_size,
            spread=table["spread_px"] * pixel_size,
        )  # fmt: skip
    return conform(table, DISCOVERIES), tuple(averages)


def _row(found: Found, members: Ints, cluster: int, chance: float) -> dict[str, Any]:
    table, objects = found.table, found.objects.rows
    first = _first(found, members)
    weight = found.from_host[objects[first]] + 1e-9  # the strangest atoms say where it is
    place = np.average(positions(table)[objects[first]], axis=0, weights=weight)
    atom, frame = table["atom"].to_numpy(), table["frame"].to_numpy()
    parts = Counter(" + ".join(found.known.names[m]) for m in members)
    return {
        "n": len(members),
        "p": found.sureness(members, cluster) * (1 - chance),
        "chance": chance,
        "novelty": float(np.median([np.nanmax(found.score[objects[m]]) for m in members])),
        "n_atoms": int(np.median([len(objects[m]) for m in members])),
        "parts": parts.most_common(1)[0][0],
        "formula": "",
        "frame": int(frame[objects[first][0]]),
        "x_px": float(place[0]),
        "y_px": float(place[1]),
        "spread_px": np.nan,
        "atoms": " | ".join(
            f"{frame[objects[m][0]]}: " + " ".join(map(str, sorted(atom[objects[m]])))
            for m in (first, *members[members != first])
        ),
    }


def _first(found: Found, members: Ints) -> int:
    """The member that is least unlike all others."""
    of = np.isin(found.against, members)
    if not of.any():
        return int(members[0])
    return int(members[found.apart[np.ix_(members, of)].mean(axis=1).argmin()])


def _chance(found: Found, members: Ints) -> float:
    """Probability that noise makes so many objects as strange, or that so many defects meet."""
    best = np.median([np.nanmax(found.score[found.objects.rows[m]]) for m in members])
    p = float(pdtrc(len(members) - 1, float(found.objects.tail.expected(best))))
    return max(p, _meeting(found, members))


def _meeting(found: Found, members: Ints) -> float:
    """Probability that the named defects of which a cluster is made meet so often by chance.

    k defects that lie at random are one object in n₁ n₂ ... nₖ (a / A)ᵏ⁻¹ (k - 1)! places on
    average, less for those of one name, where a is the area within reach of one.
    """
    names, often = Counter(found.known.names[m] for m in members).most_common(1)[0]
    if len(names) < 2 or often <= len(members) / 2:
        return 0.0
    xy = positions(found.table)
    frames = found.table["frame"].nunique()
    share = np.pi * (REACH * found.spacing) ** 2 / float(np.prod(np.ptp(xy, axis=0).clip(1)))
    mean = frames * factorial(len(names) - 1) * share ** (len(names) - 1)
    for name, count in Counter(names).items():
        mean *= (found.known.counts[name] / frames) ** count / factorial(count)
    return float(pdtrc(len(members) - 1, mean))


def _averaged(found: Found, members: Ints) -> Average:
    first = _first(found, members)
    rows = [found.objects.rows[m] for m in members]
    at = int(np.flatnonzero(members == first)[0])
    return average(found.table, found.values, rows, members.tolist(), at, found.spacing)


def _formula(one: Average) -> str:
    """Species of the strange atoms, such as 'C6 Si3'; empty where one is unknown."""
    words = [str(w) for w in one.species[one.core]]
    if not words or "" in words:
        return ""
    counts = Counter(words)
    return " ".join(f"{w}{'' if n == 1 else f' ×{n}'}" for w, n in sorted(counts.items()))
