"""Fits the verdict of `atomscope.knowing` on simulated worlds and writes its coefficients.

    python benchmarks/knowing_fit.py -o src/atomscope/knowing/verdict.yaml

Frames come from the training world of `atomscope.simulate`, without the materials that the
benchmarks keep apart, and from what is made here: noise, scrambled phases, wrong factors, coarse
sampling, patterns of diffraction. Takes about half a second of a quiet core per frame.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.floating[Any]]
SIZE = 160  # px
PENALTY = 0.003
FOUND = 0.7  # F1 above which a frame with atoms counts as one that the model knows
APART = (
    "graphene", "hBN", "1H-MoS2", "1T-TaS2", "black-phosphorus", "SrTiO3", "Si", "GaAs", "Au",
    "Al", "Fe", "TiO2", "MgO", "GaN", "CeO2", "Pt",
)  # fmt: skip
SHARES = {
    "lattice": 0.22, "isolated": 0.2, "nothing": 0.1, "noise": 0.03, "phases": 0.04,
    "scale": 0.13, "coarse": 0.02, "diffraction": 0.12, "shuffled": 0.04, "speckle": 0.1,
}  # fmt: skip
INSIDE = ("lattice", "isolated")
# What may speak for each cause. Left out are signs that only the number of atoms moves, and for
# empty frames what the network says of itself: where it errs, it may err surely. Lattices of heavy
# atoms are sharper than those drawn here, so that narrowness speaks against isolated atoms alone.
SCALE = ["misfit", "left", "rivals", "doubt", "unrefined", "width_scatter", "wide"]
TELLING = {
    "lattice": {
        "empty": ["misfit", "left", "dips", "rivals", "faint", "plain", "width_scatter"],
        "scale": [*SCALE, "sharp", "off_scale", "disorder"],
        "diffraction": [
            "misfit",
            "dips",
            "width_scatter",
            "brightness_scatter",
            "glare",
            "fall",
            "sharp",
        ],
    },
    "isolated": {
        "empty": ["misfit", "left", "dips", "rivals", "faint", "plain"],
        "scale": [*SCALE, "narrow"],
    },
}
CAUSES = {
    "empty": ("nothing", "noise", "speckle", "phases", "shuffled"),
    "scale": ("scale", "coarse"),
    "diffraction": ("diffraction",),
}


@dataclass(frozen=True)
class Case:
    """A frame, what it is, its columns in px, and the factor that is forced on it, if any."""

    kind: str
    frame: Array
    factor: float | None = None
    pixel_size: float | None = None
    truth: Array | None = None


def cases(seed: int, count: int) -> Iterator[Case]:
    """Draw `count` frames; the kinds in turn, so that any part of the list has all of them."""
    order = sorted((i / max(SHARES[k] * count, 1e-9), k, i) for k in SHARES
                   for i in range(round(SHARES[k] * count)))  # fmt: skip
    for _, kind, i in order:
        yield draw(kind, np.random.default_rng((seed, list(SHARES).index(kind), i)))


def draw(kind: str, rng: np.random.Generator) -> Case:
    """Draw one frame of a kind."""
    if kind in ("isolated", "nothing"):
        known = float(rng.uniform(0.15, 0.4)) if rng.random() < 0.5 else None
        frame, truth = _world(rng, kind, 8.0)
        return Case(kind, frame, None, known, truth)
    if kind == "speckle":
        film, known = speckle(rng), float(rng.uniform(0.1, 0.4))
        return Case(kind, film, None, known if rng.random() < 0.7 else None)
    alone = {"noise": noise, "diffraction": pattern, "coarse": coarse}
    if kind in alone:
        return Case(kind, alone[kind](rng))
    spacing = float(rng.uniform(5, 14))
    frame, truth = _world(rng, "lattice", spacing)
    if kind == "scale":
        off = rng.choice([rng.uniform(0.35, 0.6), rng.uniform(1.8, 2.8)])
        return Case(kind, frame, float(8 / spacing * off))
    changed = {
        "lattice": lambda: frame,
        "phases": lambda: scrambled(frame, rng),
        "shuffled": lambda: rng.permutation(frame.ravel()).reshape(frame.shape),
    }
    return Case(kind, changed[kind](), truth=truth if kind == "lattice" else None)


def noise(rng: np.random.Generator) -> Array:
    """Noise of some grain on a ramp."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    ramp = rng.normal(0, 3, 2) * rng.integers(0, 2)
    smooth = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), rng.uniform(0, 1) ** 3)
    return smooth / smooth.std() + ramp[0] * x + ramp[1] * y


def coarse(rng: np.random.Generator) -> Array:
    """A lattice in blocks of 3 px: 1.5 to 2.2 px between columns, less than analysis accepts."""
    frame = _world(rng, "lattice", float(rng.uniform(4.5, 6.6)), 3)[0]
    return frame.reshape(SIZE, 3, SIZE, 3).sum((1, 3))


def speckle(rng: np.random.Generator) -> Array:
    """Amorphous film without an atom on it, as counted."""
    from atomscope.simulate.imaging import amorphous

    sigma = float(np.exp(rng.uniform(np.log(0.9), np.log(5))))
    density = float(np.exp(rng.uniform(np.log(0.5), np.log(20))))  # atoms per px
    film = amorphous(rng, (SIZE, SIZE), sigma, density)
    film = film / film.std() * rng.uniform(0.05, 0.3)
    ramp = 1 + rng.uniform(0, 0.6) * (np.arange(SIZE) / SIZE - 0.5)
    return rng.poisson(np.maximum((1 + film) * ramp, 0) * 10 ** rng.uniform(0.5, 3.5)).astype(float)


def _world(
    rng: np.random.Generator, kind: str, spacing: float, times: int = 1
) -> tuple[Array, Array]:
    from atomscope.simulate.dataset import World, patch

    kinds = tuple(float(kind == k) for k in ("lattice", "isolated", "nothing"))
    world = World(
        spacing=spacing, spacing_spread=0.0, kinds=kinds, snr=(4.0, 80.0), isolated_snr=(8.0, 60.0),
        support=(0.02, 0.2), crystals=0.5, apart=APART,
    )  # fmt: skip
    drawn = patch(rng, SIZE * times, world)
    return np.asarray(drawn.frame, dtype=float), drawn.xy


def scrambled(frame: Array, rng: np.random.Generator) -> Array:
    """Keep the power spectrum and make the phases random."""
    noise = np.angle(np.fft.rfft2(rng.normal(size=frame.shape)))
    return np.fft.irfft2(np.abs(np.fft.rfft2(frame)) * np.exp(1j * noise), frame.shape)


def pattern(rng: np.random.Generator) -> Array:
    """Pattern of diffraction: spots, discs or rings, a bright beam, and diffuse scattering."""
    centre = SIZE / 2 + rng.uniform(-0.15, 0.15, 2) * SIZE
    y, x = np.mgrid[:SIZE, :SIZE] - centre[:, None, None]
    radius = np.hypot(y, x)
    reach = rng.uniform(0.12, 0.5) * SIZE
    frame = np.exp(rng.uniform(-4, -1)) * np.exp(-radius / (reach * rng.uniform(0.2, 0.8)))
    if rng.random() < 0.25:
        for _ in range(rng.integers(2, 8)):
            ring = rng.uniform(0.1, 0.9) * SIZE / 2
            frame += rng.uniform(0.1, 1) * np.exp(
                -((radius - ring) ** 2) / 2 / rng.uniform(1, 3) ** 2
            )
    else:
        frame += _spots(rng, centre, reach)
    frame += 10 ** rng.uniform(0, 2) * np.exp(-(radius**2) / 2 / rng.uniform(1.5, 4) ** 2)
    counts = rng.poisson(frame * 10 ** rng.uniform(1.3, 4)) + rng.normal(0, 1, frame.shape)
    if rng.random() < 0.3:
        counts = np.minimum(counts, np.quantile(counts, rng.uniform(0.97, 1)))
    return np.log1p(np.maximum(counts, 0)) if rng.random() < 0.4 else counts


def _spots(rng: np.random.Generator, centre: Array, reach: float) -> Array:
    """Spots or discs on a reciprocal lattice, as strong as structure factors drawn at random."""
    length = rng.uniform(8, 28)
    angle, turn = rng.uniform(np.pi / 3, 2 * np.pi / 3), rng.uniform(0, 2 * np.pi)
    cell = length * np.array([[1, 0], [rng.uniform(1, 1.6) * np.cos(angle), np.sin(angle)]])
    cell = cell @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    n = int(SIZE / length) + 2
    index = np.stack(np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1)), -1).reshape(-1, 2)
    index = index[(index[:, 0] > 0) | ((index[:, 0] == 0) & (index[:, 1] > 0))]
    strong = np.exp(rng.normal(0, rng.uniform(0.3, 1.2), len(index)))
    both = np.concatenate([index, -index])
    q = both @ cell
    weight = np.tile(strong, 2) * np.exp(-((np.hypot(*q.T) / reach) ** 2))
    at = np.rint(q + centre[::-1]).astype(int)
    inside = ((at >= 0) & (at < SIZE)).all(axis=1)
    frame = np.zeros((SIZE, SIZE))
    np.add.at(frame, (at[inside, 1], at[inside, 0]), weight[inside])
    size = rng.uniform(0.8, 0.14 * length)
    if rng.random() < 0.35:
        y, x = np.mgrid[-9:10, -9:10]
        disc = (np.hypot(y, x) < max(2 * size, 2)).astype(float)
        return ndimage.gaussian_filter(ndimage.convolve(frame, disc, mode="constant"), 0.7)
    return ndimage.gaussian_filter(frame, size) * 2 * np.pi * size**2


def seen(case: Case) -> tuple[Any, Any] | None:
    """Atoms and view of a frame as an analysis has them; None where it refuses the frame."""
    from atomscope.detect import look
    from atomscope.errors import InputError
    from atomscope.models.store import load
    from atomscope.pipeline.clock import Clock
    from atomscope.pipeline.frames import all_frames
    from atomscope.recipe import DetectStage, Recipe, RefineStage
    from atomscope.types import Image

    image, model = Image(case.frame, pixel_size=case.pixel_size), load("universal")
    plan = Recipe(stages=(DetectStage(), RefineStage()))
    try:
        view = look(image, model, factor=case.factor)
    except InputError:
        return None
    return all_frames(image, plan, model, view, 1, Clock(), None)[0], view


def signs_of(case: Case, atoms: Any, view: Any) -> dict[str, float] | None:
    """Signs of a frame; None where there is nothing to judge."""
    from atomscope.knowing import look_around
    from atomscope.knowing.signs import measure_signs
    from atomscope.models.store import load

    local = look_around(case.frame, atoms) if len(atoms) else None
    card = load("universal").card
    if local is None:
        return None
    return measure_signs(atoms, local, view, card.spacing_px, card.sigma_px)


def is_found(case: Case, atoms: Any) -> bool:
    """Whether most columns of a frame with atoms were found, and most that was found is true."""
    from scipy.spatial import KDTree

    from atomscope.evaluate import score

    if case.truth is None or len(case.truth) < 2:
        return False
    near = float(np.median(KDTree(case.truth).query(case.truth, k=2)[0][:, 1]))
    found = atoms[["x_px", "y_px"]].to_numpy(float)
    return score(case.truth, found, min(0.35 * near, 3.0)).f1 >= FOUND


def fit(table: list[dict[str, float]], outside: NDArray[np.bool_]) -> dict[str, Any]:
    """Logistic regression, no weight below 0, large ones penalised; both sides weigh the same."""
    from scipy.optimize import minimize

    names = list(table[0])
    values = np.array([[row[n] for n in names] for row in table])
    mean, spread = values.mean(0), np.maximum(values.std(0), 1e-3)
    design = np.column_stack([np.ones(len(values)), (values - mean) / spread])
    sign = np.where(outside, 1.0, -1.0)
    share = np.where(outside, 0.5 / max(outside.sum(), 1), 0.5 / max((~outside).sum(), 1))

    def loss(w: Array) -> float:
        return float(share @ np.logaddexp(0, -sign * (design @ w)) + PENALTY * w[1:] @ w[1:])

    bounds = [(None, None)] + [(0, None)] * len(names)
    best = minimize(loss, np.zeros(design.shape[1]), bounds=bounds).x
    weights = {
        n: {"mean": round(float(m), 4), "spread": round(float(s), 4), "weight": round(float(w), 4)}
        for n, m, s, w in zip(names, mean, spread, best[1:], strict=True)
    }
    return {"intercept": round(float(best[0]), 4), "signs": weights}


def card_of(rows: list[tuple[str, bool, dict[str, float]]], **recipe: Any) -> dict[str, Any]:
    """Weights of each cause for both kinds of frame, limits of the verdicts, and the recipe."""
    card: dict[str, Any] = {"recipe": recipe, "doubtful": 0.5, "out": 0.9}
    for name, lattice in (("lattice", True), ("isolated", False)):
        mine = [(kind, signs) for kind, is_lattice, signs in rows if is_lattice == lattice]
        card[name] = {}
        for cause, signs_used in TELLING[name].items():
            kinds = CAUSES[cause]
            some = [(kind, signs) for kind, signs in mine if kind in (*INSIDE, *kinds)]
            outside = np.array([kind in kinds for kind, _ in some])
            counts = {"in": int((~outside).sum()), "out": int(outside.sum())}
            table = [{sign: signs[sign] for sign in signs_used} for _, signs in some]
            card[name][cause] = fit(table, outside) | {"frames": counts}
    return card


def kept(card: dict[str, Any], only: list[str]) -> dict[str, Any]:
    """Take the causes that were asked for from a card, all others from the shipped one."""
    from atomscope.knowing.verdict import weights

    shipped = weights()
    for name in ("lattice", "isolated"):
        for cause in set(card[name]) - set(only):
            card[name][cause] = shipped[name][cause]
    return card


def main() -> None:
    import yaml

    from atomscope.models.store import load

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=450, help="frames")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=CAUSES, help="causes; others stay as shipped")
    parser.add_argument("-o", "--out", type=Path, required=True, help="YAML file to write")
    args = parser.parse_args()
    rows = []
    for case in cases(args.seed, args.count):
        got = seen(case)
        signs = signs_of(case, *got) if got is not None else None
        # frames whose atoms the network does not find are neither in domain nor out of it
        if case.kind in INSIDE and not (got is not None and is_found(case, got[0])):
            continue
        if got is not None and signs is not None:
            rows.append((case.kind, bool(got[1].lattice), signs))
    model = load("universal")
    card = card_of(rows, script="benchmarks/knowing_fit.py", seed=args.seed, count=args.count,
                   model=model.card.name, model_sha256=model.sha256)  # fmt: skip
    if args.only is not None:
        card = kept(card, args.only)
        card["recipe"]["only"] = args.only
    args.out.write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main()
