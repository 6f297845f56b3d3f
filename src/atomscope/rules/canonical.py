"""A label for what no rule names, the same under rotation, mirror and small distortion."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from atomscope.graph import AtomGraph
from atomscope.rules.findings import Group, Words

_ROUNDS = 4


def canonical_label(group: Group, graph: AtomGraph, species: Words) -> str:
    """Hash the labelled subgraph of a defect: its atoms, their first shell, and what is missing.

    Each atom starts with its species, whether it is of the core, and its coordination; then the
    labels of neighbours are gathered `_ROUNDS` times (Weisfeiler and Lehman, 1968; the form of
    Shervashidze et al., J. Mach. Learn. Res. 12, 2539 (2011)).

    Args:
        group: The defect.
        graph: Of the whole frame.
        species: Of its atoms, words, shape (N,).
    """
    core = set(group.atoms)
    shell = {int(n) for i in core for n in graph.neighbours[i][graph.mask[i]]} - core
    labels = {i: f"{species[i]}|{int(i in core)}" for i in core | shell}
    near = {
        i: [int(n) for n in graph.neighbours[i][graph.mask[i]] if int(n) in labels] for i in labels
    }
    labels = {i: f"{label}|{len(near[i]) if i in core else '-'}" for i, label in labels.items()}
    for _ in range(_ROUNDS):
        labels = {i: _digest([labels[i], *sorted(labels[n] for n in near[i])]) for i in labels}
    parts = [
        f"{part}:{w}:{n}" for part, c in sorted(group.parts.items()) for w, n in sorted(c.items())
    ]
    return f"new-{_digest([*parts, *sorted(labels.values())])[:8]}"


def _digest(words: Sequence[str]) -> str:
    return sha256(";".join(words).encode()).hexdigest()[:16]
