"""Teach AtomAI's segmentor by marked atoms; for the peers' environment, called by another script.

    peers/bin/python benchmarks/atomai_taught.py JOB.npz OUT.npz

JOB.npz holds the picture to teach with (image, xy, rows, kind), the one to ask for (asked, at),
seconds and seed; OUT.npz gets the classes at the atoms and the number of parameters. The crops are
those of `image_nets`; loss, optimiser and rate are AtomAI's defaults, but pixels without a mark are
a class of their own that the loss leaves out.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

import image_nets
import numpy as np
import torch

CYCLES, STORED = 20, 64  # mini-batches between two draws of crops, and crops of a draw


def taught(picture: image_nets.Picture, seconds: float, seed: int):
    """AtomAI's default U-Net after so many seconds of CPU."""
    from atomai.models import Segmentor

    classes = len(np.unique(picture.kind))
    model = Segmentor("Unet", nb_classes=classes + 1, seed=seed)
    rng = np.random.default_rng(seed)
    loss = torch.nn.CrossEntropyLoss(ignore_index=classes)
    start = time.process_time()
    while time.process_time() - start < seconds:
        seen, marks, _ = image_nets.crops(picture, rng, STORED, image_nets.CROP, 8.0)
        marks[marks == image_nets.IGNORED] = classes
        # all classes must occur in what is given
        marks[:, 0, 0] = torch.arange(len(marks)) % (classes + 1)
        model.fit(
            seen.numpy(),
            marks.numpy(),
            seen[: image_nets.BATCH].numpy(),
            marks[: image_nets.BATCH].numpy(),
            loss=loss,
            training_cycles=CYCLES,
            batch_size=image_nets.BATCH,
            plot_training_history=False,
            print_loss=10**6,
            filename="atomai",
        )
    model.net.eval()
    return model, classes


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    job, out = (Path(p).resolve() for p in sys.argv[1:3])
    with np.load(job) as stored:
        data = dict(stored)
    picture = image_nets.Picture(*(data[n] for n in ("image", "xy", "rows", "kind")))
    # AtomAI writes its own files into the working folder after every fit
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(scratch)
        model, classes = taught(picture, float(data["seconds"]), int(data["seed"]))
        os.chdir("/")
    image = data["asked"].astype(np.float32)
    padded = np.pad(image, [(0, -n % 8) for n in image.shape], mode="reflect")
    with torch.no_grad():
        maps = model.net(torch.from_numpy(padded)[None, None])[0].softmax(0).numpy()
    kind = image_nets.at_atoms(maps[:classes], data["at"]).argmax(axis=1)
    np.savez(out, kind=kind, parameters=image_nets.size_of(model.net))


if __name__ == "__main__":
    main()
