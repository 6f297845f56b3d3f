"""`atomscope info`: what is in a file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path


def show_file(path: Path, *, as_json: bool) -> None:
    """Print the images of a file, best candidate marked with *.

    Raises:
        InputError: The file cannot be read.
    """
    from atomscope.io import list_images

    entries = list_images(path)
    if as_json:
        print(json.dumps([asdict(entry) for entry in entries], indent=1))
        return
    for entry in entries:
        size = " x ".join(str(n) for n in reversed(entry.shape))
        scale = f"{entry.pixel_size:.5g} Å/px" if entry.pixel_size else "pixel size unknown"
        kind = entry.modality if entry.is_image else f"not taken: {entry.reason}"
        mark = "*" if entry.best else " "
        print(f"{mark} {entry.index}  {entry.name}  {size}  {entry.dtype}  {scale}  {kind}")
