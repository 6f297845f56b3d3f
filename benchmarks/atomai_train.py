"""Train AtomAI's U-Net on atomscope's training world: the same patches, step by step.

    PYTHONPATH=src peers/bin/python benchmarks/atomai_train.py OUT --seed 1
    PYTHONPATH=src peers/bin/python benchmarks/atomai_train.py OUT --steps 3

Phases, seeds and worlds are those of the recipe `universal`: with --seed 1 patch i of step n is the
very patch i of step n that atomscope's detector saw (other seeds: other patches of the same
worlds). `--steps` shortens all phases alike. Each patch is scaled to 0..1 by itself, as AtomAI's
`predict` scales a frame that is given alone. Masks are
discs of 2 px radius (less where atoms are closer), the loss and optimiser are AtomAI's defaults,
the learning rate falls from its default 1e-3 along a cosine, which only helps.

Variants: `--filters N` (capacity; 16 is the default network of 594,033 parameters), `--augment`
(AtomAI's own rotation, zoom, noise and contrast on top), `--mixed` (a third of the time where the
processor has bfloat16). A training that was interrupted goes on when the command is given again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import yaml

RECIPE = Path(__file__).parents[1] / "src/atomscope/train/recipes/universal.yaml"
TRAINING, VALIDATION = 0, 1


def schedule(recipe: dict, steps: int | None) -> list[tuple[dict, int, int]]:
    """World, seed and number of the step within its phase, for every step of the training."""
    total = sum(phase["steps"] for phase in recipe["phases"])
    share = 1.0 if steps is None else steps / total
    return [
        (phase.get("world", {}), phase.get("seed", 0), step)
        for phase in recipe["phases"]
        for step in range(max(1, round(phase["steps"] * share)))
    ][:steps]


def chunk(recipe: dict, steps: list[tuple[dict, int, int]], seed: int, stream: int):
    """Patches (n, 1, s, s) scaled to 0..1 and masks (n, 1, s, s) of some steps."""
    from atomscope.simulate.dataset import World, patch

    frames, masks = [], []
    for settings, own_seed, step in steps:
        world = World(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
        for i in range(recipe["batch"]):
            rng = np.random.default_rng((own_seed + 1000 * (seed - 1), stream, step, i))
            frame, xy, _ = patch(rng, recipe["size"], world)
            low, high = float(frame.min()), float(frame.max())
            frames.append((frame - low) / max(high - low, 1e-12))
            masks.append(discs(xy, recipe["size"]))
    return np.stack(frames)[:, None].astype(np.float32), np.stack(masks)[:, None]


def discs(xy: np.ndarray, size: int, radius: float = 2.0) -> np.ndarray:
    """Mask (s, s) of the discs around positions; closer atoms get smaller discs."""
    from scipy.spatial import KDTree

    mask = np.zeros((size, size), dtype=np.float32)
    if not len(xy):
        return mask
    nearest = KDTree(xy).query(xy, k=2)[0][:, 1] if len(xy) > 1 else np.array([np.inf])
    y, x = np.mgrid[:size, :size]
    distance, which = KDTree(xy).query(np.stack([x, y], -1).reshape(-1, 2))
    reach = np.minimum(radius, 0.35 * nearest)[which]
    return (distance <= reach).reshape(size, size).astype(np.float32)


def one_pass(model, drawn: tuple, held_out: tuple, share: float, batch: int, **augment) -> float:
    """Train on each patch once, with the rate at that share of the training; validation loss."""
    rate = 1e-3 * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * share)))
    with contextlib.redirect_stdout(io.StringIO()):
        model.fit(
            *drawn,
            *held_out,
            training_cycles=1,
            full_epoch=True,  # every patch once; the other mode repeats half of them
            batch_size=batch,
            lr_scheduler=[float(rate)],
            plot_training_history=False,
            filename="atomai",
            **augment,
        )
    return float(model.loss_acc["test_loss"][-1])


def drawn_ahead(recipe: dict, plan: list, args: argparse.Namespace):
    """Patches and masks of one chunk after the other; the next is drawn in another process."""
    parts = [plan[first : first + args.chunk] for first in range(0, len(plan), args.chunk)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        ahead = pool.submit(chunk, recipe, parts[0], args.seed, TRAINING)
        for following in [*parts[1:], None]:
            drawn = ahead.result()
            if following is not None:
                ahead = pool.submit(chunk, recipe, following, args.seed, TRAINING)
            yield drawn


def in_half_precision(net) -> None:
    """Let a network compute in bfloat16 where torch holds that to be safe; weights stay float32."""
    import torch

    net.to(memory_format=torch.channels_last)
    plain = net.forward

    def forward(x):
        with torch.autocast("cpu", torch.bfloat16):
            return plain(x).float()

    net.forward = forward


def resumed(model, kept: Path, run: list) -> int:
    """Steps that an interrupted training of the same run has behind it; takes over its state."""
    import torch

    if not kept.is_file():
        return 0
    state = torch.load(kept, weights_only=True)
    if state["run"] != run:
        raise SystemExit(f"{kept} is of another run ({state['run']}, not {run}): remove it")
    model.net.load_state_dict(state["net"])
    model.optimizer = torch.optim.Adam(model.net.parameters(), lr=1e-3)
    model.optimizer.load_state_dict(state["optimizer"])
    return state["done"]


def keep(model, kept: Path, run: list, done: int) -> None:
    """Write what `resumed` takes over, whole or not at all."""
    import torch

    beside = kept.with_suffix(".part")
    state = {"run": run, "done": done, "net": model.net.state_dict()}
    torch.save(state | {"optimizer": model.optimizer.state_dict()}, beside)
    beside.replace(kept)


def train(args: argparse.Namespace) -> None:
    import torch
    from atomai.models import Segmentor

    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    torch.set_num_threads(args.threads)
    options = {"nb_filters": args.filters}
    with contextlib.redirect_stdout(io.StringIO()):
        model = Segmentor("Unet", nb_classes=1, seed=args.seed, **options)
    if args.mixed:
        in_half_precision(model.net)
    parameters = sum(p.numel() for p in model.net.parameters())
    plan = schedule(recipe, args.steps)
    print(f"{parameters} parameters, {len(plan)} steps of {recipe['batch']} patches", flush=True)
    augment = (
        {"rotation": True, "zoom": True, "gauss_noise": [10, 70], "contrast": [60, 120]}
        if args.augment
        else {}
    )
    held_out = chunk(recipe, plan[:2], args.seed, VALIDATION)
    run = [args.seed, len(plan), args.filters, args.augment, args.mixed, args.chunk]
    kept = args.out / "unfinished.pt"
    done = resumed(model, kept, run)
    start = time.perf_counter()
    for drawn in drawn_ahead(recipe, plan[done:], args):
        loss = one_pass(model, drawn, held_out, done / len(plan), recipe["batch"], **augment)
        done += len(drawn[0]) // recipe["batch"]
        keep(model, kept, run, done)
        spent = time.perf_counter() - start
        print(f"step {done}: validation loss {loss:.4f}, {spent:.0f} s", flush=True)
    settings = {
        "model": "Unet",
        "classes": 1,
        "options": options,
        "steps": len(plan),
        "seed": args.seed,
        "augment": args.augment,
        "mixed": args.mixed,
        "parameters": parameters,
        "spacing_px": plan[0][0].get("spacing", 8.0),
        "seconds_since_last_start": time.perf_counter() - start,
    }
    torch.save(model.net.state_dict(), args.out / "weights.pt")
    (args.out / "settings.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    kept.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for the weights")
    parser.add_argument("--steps", type=int, help="default: as many as the recipe")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--filters", type=int, default=16, help="width of the first block")
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("--mixed", action="store_true", help="bfloat16 where torch allows it")
    parser.add_argument("--chunk", type=int, default=100, help="steps drawn at a time")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    # AtomAI writes its own files into the working folder after every fit.
    with tempfile.TemporaryDirectory() as scratch:
        before = Path.cwd()
        os.chdir(scratch)
        try:
            train(args)
        finally:
            os.chdir(before)


if __name__ == "__main__":
    main()
