"""How unlike the training world the atoms and the image are, frame by frame."""

from __future__ import annotations

import numpy as np
import pandas as pd

from atomscope.detect.view import View
from atomscope.knowing import Verdict, join, know
from atomscope.models.store import Model
from atomscope.types import Image


def known(
    image: Image, atoms: pd.DataFrame, detector: Model, view: View
) -> tuple[pd.DataFrame, Verdict]:
    """Return the table with `ood` filled, and the verdict on the image."""
    ood = np.full(len(atoms), np.nan)
    frames = atoms["frame"].to_numpy()
    verdicts = []
    for number in image.numbers:
        here = np.flatnonzero(frames == number)
        ood[here], verdict = know(
            image.frame(number),
            atoms.iloc[here],
            view,
            spacing=detector.card.spacing_px,
            sigma=detector.card.sigma_px,
            pixel_size=image.pixel_size,
        )
        verdicts.append(verdict)
    return atoms.assign(ood=ood), join(verdicts)


def warned(verdict: Verdict) -> list[str]:
    """Return the line for an image that is not in domain; where no atoms are, another says so."""
    none = verdict.score == 1.0 and not verdict.signs
    return [] if none or verdict.line is None else [verdict.line]
