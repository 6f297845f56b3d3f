"""Sets of simulated frames on disc: shards of frames, class maps and tables, and a manifest.

A set is a folder. Each shard is `shard-0000.npz` with `frames` (n, y, x) float32 and `classes`
(n, y, x) uint8, and `shard-0000.csv` with one row per column: image, x_px, y_px, label. The
manifest says what the set was made from and holds the SHA-256 of every file. Image i depends on
the seed and on i alone, so that a run that was stopped goes on to the same bytes.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope import __version__
from atomscope.columns import positions
from atomscope.errors import AtomscopeError, InputError, UsageError
from atomscope.io.hashing import input_hash
from atomscope.io.write import plain, write_json, write_table, write_whole
from atomscope.simulate.imaging import Frame
from atomscope.simulate.recording import Patch
from atomscope.simulate.scene import OTHER, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"
REACH = 4  # px around a column that are painted with its class
NO_CLASS = 255  # in class maps: a column that is none of the classes
PACKAGES = ("numpy", "scipy")  # their versions decide on the last bits
_DRAFT = re.compile(r"\.[0-9a-f]{32}\.(npz|csv|json)")  # what a killed run may leave


@dataclass(frozen=True)
class Plan:
    """All that the bytes of a set depend on.

    Attributes:
        recipe: What the images are made from, as it stands in the manifest.
        classes: Names of the classes; class i is i + 1 in the class maps.
        seed: Seed of the set.
        count: Number of images.
        shard: Images per shard.
        notes: More facts for the manifest, such as the pixel size.
        packages: Packages whose versions are noted.
    """

    recipe: Mapping[str, Any]
    classes: tuple[str, ...]
    seed: int
    count: int
    shard: int = 250
    notes: Mapping[str, Any] = field(default_factory=dict)
    packages: tuple[str, ...] = PACKAGES

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be right."""
        for name, least in (("seed", 0), ("count", 1), ("shard", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} {getattr(self, name)}: expected {least} or more.")
        if not 1 <= len(self.classes) < NO_CLASS:
            raise UsageError(f"{len(self.classes)} classes: expected 1 to {NO_CLASS - 1}.")

    def head(self) -> dict[str, Any]:
        """Return the manifest without its shards."""
        versions = {"atomscope": __version__, **{name: version(name) for name in self.packages}}
        head = {
            "recipe": self.recipe,
            "seed": self.seed,
            "count": self.count,
            "shard": self.shard,
            "classes": ["background", *self.classes],
            **self.notes,
            "versions": versions,
        }
        return {str(key): value for key, value in plain(head).items()}


class Stored(NamedTuple):
    """One image of a set: frame (y, x), positions (N, 2) in px, names of the classes (N,)."""

    frame: Frame
    xy: Floats
    label: tuple[str, ...]


def write_set(
    out: Path,
    plan: Plan,
    draw: Callable[[int], Patch],
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, Any]:
    """Write a set, or go on with one that was begun; whole shards stay as they are.

    Args:
        out: Folder of the set.
        plan: What the set is.
        draw: Gives image number i, the same in every run.
        progress: Called with the images done and their number.

    Returns:
        The manifest.

    Raises:
        UsageError: The folder holds something else, or cannot be written.
    """
    manifest = _claim(out, plan.head())
    done = manifest["shards"]
    for number, first in enumerate(range(0, plan.count, plan.shard)):
        last = min(first + plan.shard, plan.count)
        if number >= len(done) or not _whole(out, done[number]):
            images = [draw(i) for i in range(first, last)]
            done[number : number + 1] = [_write_shard(out, number, first, images, plan.classes)]
            write_json(manifest, out / MANIFEST)
        if progress is not None:
            progress(last, plan.count)
    return manifest


def read_set(folder: Path) -> Iterator[Stored]:
    """Read the images of a finished set; every file is checked against its hash.

    Raises:
        InputError: There is no set, it is not finished, or a file is not the one that was
            written.
    """
    import pandas as pd

    manifest = read_manifest(folder)
    if sum(entry["images"] for entry in manifest["shards"]) != manifest["count"]:
        raise InputError(f"{folder}: the set is not finished; run the command that made it again.")
    for entry in manifest["shards"]:
        if not _whole(folder, entry):
            raise InputError(
                f"{folder / entry['frames']}: this shard is not the one that was written; run the "
                "command that made the set again."
            )
        with np.load(folder / entry["frames"]) as arrays:
            frames = arrays["frames"]
        table = pd.read_csv(folder / entry["table"], keep_default_na=False)
        for i, frame in enumerate(frames, start=entry["first"]):
            rows = table[table["image"] == i]
            yield Stored(frame, positions(rows), tuple(rows["label"]))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a set.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if {"count", "classes", "shards"} <= set(found):
            return found
    except (OSError, ValueError, TypeError):
        pass
    raise InputError(f"{folder}: no set of images; expected the folder of `atomscope simulate`.")


def class_map(xy: Floats, label: Ints, shape: tuple[int, int], reach: float = REACH) -> Any:
    """Paint the class of the nearest column within `reach` px.

    Args:
        xy: Positions (N, 2) in px.
        label: Class of each, from 0, or OTHER.
        shape: (height, width) of the map.
        reach: Radius in px.

    Returns:
        Map (y, x) uint8: 0 background, class + 1 at columns, NO_CLASS at columns without one.
    """
    painted: NDArray[np.uint8] = np.zeros(shape, dtype=np.uint8)
    if len(xy) == 0:
        return painted
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance, index = cKDTree(xy).query(np.stack([x, y], -1), distance_upper_bound=reach)
    value = np.where(label == OTHER, NO_CLASS, label + 1).astype(np.uint8)
    near = np.isfinite(distance)
    painted[near] = value[index[near]]
    return painted


def _claim(out: Path, head: dict[str, Any]) -> dict[str, Any]:
    """Bind the folder to one plan; return the manifest as far as it was written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        names = [path.name for path in out.iterdir()]
    except OSError as error:
        raise UsageError(
            f"-o {out}: not a folder that can be used ({error.strerror}); give another one."
        ) from error
    for name in filter(_DRAFT.fullmatch, names):
        (out / name).unlink(missing_ok=True)
    if MANIFEST not in names:
        if any(not _DRAFT.fullmatch(name) for name in names):
            raise UsageError(f"-o {out}: holds other files; give a new or empty folder.")
        manifest = {**head, "shards": []}
        write_json(manifest, out / MANIFEST)
        return manifest
    manifest = read_manifest(out)
    different = [key for key, value in head.items() if manifest.get(key) != value]
    if different:
        raise UsageError(
            f"-o {out}: holds a set with another {' and '.join(different)}; give a new folder."
        )
    return manifest


def _write_shard(
    out: Path, number: int, first: int, images: list[Patch], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Write the two files of a shard and return its entry in the manifest."""
    import pandas as pd

    names = np.array([*classes, ""])  # OTHER is the last
    rows = [
        pd.DataFrame({"image": i, "x_px": p.xy[:, 0], "y_px": p.xy[:, 1], "label": names[p.label]})
        for i, p in enumerate(images, start=first)
    ]
    table: pd.DataFrame = pd.concat(rows, ignore_index=True)
    stem = f"shard-{number:04d}"
    frames = np.stack([p.frame for p in images]).astype(np.float32)
    maps = np.stack([class_map(p.xy, p.label, frames.shape[1:]) for p in images])
    memory = io.BytesIO()  # a full disc then fails in one plain write
    np.savez(memory, frames=frames, classes=maps)
    write_whole(out / f"{stem}.npz", lambda draft: draft.write_bytes(memory.getbuffer()))
    write_table(table, out / f"{stem}.csv")
    return {
        "first": first,
        "images": len(images),
        "columns": len(table),
        "frames": f"{stem}.npz",
        "frames_hash": input_hash(out / f"{stem}.npz"),
        "table": f"{stem}.csv",
        "table_hash": input_hash(out / f"{stem}.csv"),
    }


def _whole(folder: Path, entry: Mapping[str, Any]) -> bool:
    """Whether both files of a shard are there and unchanged."""
    try:
        return all(input_hash(folder / entry[f]) == entry[f"{f}_hash"] for f in ("frames", "table"))
    except (AtomscopeError, KeyError):
        return False
