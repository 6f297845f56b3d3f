"""Train AtomAI's U-Net on a world with classes; for the peers' environment.

    PYTHONPATH=src peers/bin/python benchmarks/atomai_classes.py JOB.pkl OUT

JOB.pkl is what `lattice_specific.py` wrote: world, classes, size, batch, seed and minutes of CPU
time, drawing of patches included. Patches are drawn as in atomscope's own training; scaling,
radius of the discs and loss are those of `atomai_train.py`, the masks have one class per kind of
column, and the background is the last one, as AtomAI wants it. The loss is AtomAI's default for
several classes, cross-entropy; the learning rate falls from its default 1e-3 along a cosine.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import tempfile
import time
from pathlib import Path

import numpy as np
from atomai_train import TRAINING, VALIDATION, discs, one_pass
from scipy.spatial import KDTree

CHUNK = 50  # steps drawn at a time


def marks(xy: np.ndarray, label: np.ndarray, size: int, background: int) -> np.ndarray:
    """Mask (s, s) of the class of the column whose disc a pixel lies in."""
    mask = np.full((size, size), background, dtype=np.int64)
    inside = discs(xy, size) > 0
    if inside.any():
        y, x = np.nonzero(inside)
        mask[y, x] = label[KDTree(xy).query(np.stack([x, y], -1))[1]]
    mask[mask < 0] = background
    return mask


def chunk(job: dict, first: int, steps: int, stream: int) -> tuple[np.ndarray, np.ndarray]:
    """Patches (n, 1, s, s) scaled to 0..1 and masks (n, s, s) of some steps."""
    from atomscope.simulate.dataset import patch

    frames, masks = [], []
    for step in range(first, first + steps):
        for i in range(job["batch"]):
            rng = np.random.default_rng((job["seed"], stream, step, i))
            frame, xy, label = patch(rng, job["size"], job["world"])
            low, high = float(frame.min()), float(frame.max())
            frames.append((frame - low) / max(high - low, 1e-12))
            masks.append(marks(xy, label, job["size"], len(job["classes"])))
    return np.stack(frames)[:, None].astype(np.float32), np.stack(masks)


def train(job: dict, out: Path) -> None:
    import torch
    from atomai.models import Segmentor

    torch.set_num_threads(1)
    count = len(job["classes"]) + 1
    model = Segmentor("Unet", nb_classes=count, seed=job["seed"])
    held_out = chunk(job, 0, 4, VALIDATION)
    budget, steps, spent = 60 * job["minutes"], 0, 0.0
    start = time.process_time()
    while spent < budget:
        drawn = chunk(job, steps, CHUNK, TRAINING)
        loss = one_pass(model, drawn, held_out, spent / budget, job["batch"])
        steps, spent = steps + CHUNK, time.process_time() - start
        print(f"step {steps}: validation loss {loss:.4f}, {spent:.0f} s", flush=True)
    settings = {
        "model": "Unet",
        "classes": count,
        "options": {},
        "steps": steps,
        "cpu_seconds": spent,
        "parameters": sum(p.numel() for p in model.net.parameters()),
    }
    torch.save(model.net.state_dict(), out / "weights.pt")
    (out / "settings.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("job", type=Path)
    parser.add_argument("out", type=Path, help="folder for the weights")
    args = parser.parse_args()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    job = pickle.loads(args.job.read_bytes())
    # AtomAI writes its own files into the working folder after every fit
    with tempfile.TemporaryDirectory() as scratch:
        before = Path.cwd()
        os.chdir(scratch)
        try:
            train(job, out)
        finally:
            os.chdir(before)


if __name__ == "__main__":
    main()
