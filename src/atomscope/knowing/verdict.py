"""From the signs of a frame to a verdict with its reasons."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from atomscope.columns import positions
from atomscope.documents import parse_yaml
from atomscope.knowing.signs import SIGNS
from atomscope.spacing import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from atomscope.detect.view import View

IN, DOUBTFUL, OUT, UNKNOWN = "in domain", "doubtful", "out of domain", "unknown"
# Å between columns of a crystal: Ge [114] dumbbells have 0.47, phosphorene from above 0.7
PLAUSIBLE = (0.45, 12.0)
LEAST_ATOMS = 10  # of a lattice, for a median distance to mean something
# Elongation beyond that of a usual probe: simulated columns that are resolved have 0.00 to 0.01,
# pairs that are taken for one column 0.16 or more
LONG = 0.15
TELLING = 0.7  # logits that a sign must add to be named as a reason
MOST_REASONS = 3


CAUSES = {
    "empty": "it looks like noise or texture without atoms",
    "scale": "it looks like atoms at a wrong or too coarse sampling",
    "diffraction": "it looks like a pattern of diffraction",
}


@dataclass(frozen=True)
class Verdict:
    """What an image is to the models that looked at it.

    Attributes:
        verdict: 'in domain', 'doubtful', 'out of domain', or 'unknown' without a fit.
        score: 0 for in domain to 1 for out of it; None where unknown.
        reasons: What speaks against the image, the strongest first, in words.
        signs: The numbers that it was judged by.
    """

    verdict: str
    score: float | None
    reasons: tuple[str, ...] = ()
    signs: dict[str, float] = field(default_factory=dict)

    @classmethod
    def without_atoms(cls) -> Verdict:
        """Return the verdict on a frame in which nothing was found."""
        return cls(OUT, 1.0, ("no atoms stand out",))

    @classmethod
    def unknown(cls, why: str) -> Verdict:
        """Return the verdict where nothing can be said."""
        return cls(UNKNOWN, None, (why,))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they go into `run.json`."""
        return asdict(self)

    @property
    def line(self) -> str | None:
        """One line for a user where the image is not in domain, or nobody can say."""
        if self.verdict == IN:
            return None
        if self.verdict == UNKNOWN:
            why = "; ".join(self.reasons)
            return (
                f"How unlike the images of the training this one is cannot be told: {why}. "
                "Look at the overlay before you trust the atoms."
            )
        kind = "may be" if self.verdict == DOUBTFUL else "is"
        why = "; ".join(self.reasons) or "the signs together"
        return (
            f"This image {kind} unlike what the model was trained on (score {self.score:.2f}): "
            f"{why}. Look at the overlay before you trust the atoms."
        )


def decide(
    signs: Mapping[str, float], view: View, atoms: pd.DataFrame, pixel_size: float | None
) -> Verdict:
    """Judge a frame by its signs, with the weights fitted on simulated worlds.

    For each cause a logistic model, one for lattices and one for isolated atoms
    (benchmarks/knowing_fit.py); the most likely cause gives score and reasons. Besides, a
    lattice is doubtful whose columns lie at a distance that no crystal has, or at one that the
    choice of the sampling would not have left, or are long in one direction.
    """
    card = weights()
    scores = {}
    for cause, model in card["lattice" if view.lattice else "isolated"].items():
        adds = {
            name: sign["weight"] * (signs[name] - sign["mean"]) / sign["spread"]
            for name, sign in model["signs"].items()
        }
        logit = float(np.clip(model["intercept"] + sum(adds.values()), -30, 30))
        scores[cause] = (1 / (1 + float(np.exp(-logit))), adds)
    cause = max(scores, key=lambda c: scores[c][0])
    score, adds = scores[cause]
    reasons = [CAUSES[cause], *(SIGNS[name] for name in _strongest(adds))]
    for line, floor in _rules(signs, view, atoms, pixel_size):
        score, reasons = max(score, floor), [line, *reasons]
    name = IN if score < card["doubtful"] else DOUBTFUL if score < card["out"] else OUT
    told = tuple(dict.fromkeys(reasons))[:MOST_REASONS] if name != IN else ()
    return Verdict(name, score, told, dict(signs))


def join(frames: Sequence[Verdict]) -> Verdict:
    """Return the verdict of a movie of one frame or more: that with the middle score."""
    judged = sorted((v for v in frames if v.score is not None), key=lambda v: v.score or 0.0)
    return judged[len(judged) // 2] if judged else frames[0]


@cache
def weights() -> dict[str, Any]:
    """Return the weights of the verdict, with the recipe that made them."""
    text = files("atomscope.knowing").joinpath("verdict.yaml").read_text(encoding="utf-8")
    return dict(parse_yaml(text))


def _strongest(adds: Mapping[str, float]) -> list[str]:
    return [n for n in sorted(adds, key=lambda n: -adds[n]) if adds[n] > TELLING]


def _rules(
    signs: Mapping[str, float], view: View, atoms: pd.DataFrame, pixel_size: float | None
) -> list[tuple[str, float]]:
    """What makes a lattice doubtful whatever the weights say: the reason, and the least score."""
    if not view.lattice or len(atoms) < LEAST_ATOMS:
        return []
    found = []
    if signs["off_scale"] > 0:
        score = 0.5 + 0.5 * float(np.tanh(signs["off_scale"]))
        found.append((SIGNS["off_scale"], score))
    if signs["long"] > LONG:
        found.append((SIGNS["long"], 0.5 + 0.5 * float(np.tanh(signs["long"] / LONG - 1))))
    if pixel_size is not None:
        apart = float(np.median(nearest(positions(atoms)))) * pixel_size
        if not PLAUSIBLE[0] <= apart <= PLAUSIBLE[1]:
            found.append((f"columns lie {apart:.3g} Å apart, which no crystal has", 0.5))
    return found
