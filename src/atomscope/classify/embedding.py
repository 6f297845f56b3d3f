"""What an atom looks like to the network of structures: its embedding, from ONNX Runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from atomscope.classify.adapt import SAME, Change
from atomscope.classify.beside import Around
from atomscope.documents import parse_yaml
from atomscope.errors import UsageError
from atomscope.models.blocks import MANY, cores, in_threads
from atomscope.models.store import ZOO, open_session
from atomscope.models.surroundings import NEIGHBOURS, surroundings

Floats = NDArray[np.float64]
FOLDER = ZOO / "structures"
LARGEST = 1e-3  # what another runtime may give away from the stored output
PART = 4096  # atoms that are embedded at a time
NEAR, NEXT = 1.35, 1.95  # local spacings: within these are the nearest, and the next nearest
CUT = 1.5  # local spacings: atoms nearer to the rim of the table have cut surroundings


@dataclass(frozen=True)
class Embedder:
    """The network and what is known of its embeddings.

    Attributes:
        session: Of ONNX Runtime.
        sha256: Of its weights.
        version: Of the model.
        scatter: (D, D) covariance of atoms of one class, from worlds held apart.
        folder: That it was loaded from.
    """

    session: Any
    sha256: str
    version: str
    scatter: Floats
    folder: Path

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Return the embedding (N, D) of what `surroundings` gave."""
        found: NDArray[np.float32] = self.session.run(None, dict(inputs))[0]
        return found

    def run_parts(
        self,
        xy: Floats,
        inputs: Mapping[str, NDArray[Any]],
        most: int = PART,
        threads: int | None = None,
    ) -> NDArray[np.float32]:
        """Return the same as `run`, in blocks of `most` atoms: memory grows with the table alone.

        Args:
            xy: Positions (N, 2), by which the blocks are cut.
            inputs: Of all atoms.
            most: Atoms of a block; those within two rounds of messages come on top.
            threads: That work on blocks; by default all cores for large tables, one for others.
        """
        if len(xy) <= most:
            return self.run(inputs)
        index = inputs["index"]
        found = np.empty((len(xy), len(self.scatter)), np.float32)

        def work(block: NDArray[np.intp]) -> None:
            rows = _reached(index, _reached(index, block))
            number = np.zeros(len(xy), np.int64)
            number[rows] = np.arange(len(rows))
            part = {name: values[rows] for name, values in inputs.items()}
            # those at the rim of a block reach out of it; nothing is read of them but their node
            part["index"] = number[part["index"]]
            found[block] = self.run(part)[number[block]]

        in_threads(work, _blocks(xy, most), threads or (cores() if len(xy) >= MANY else 1))
        return found


def _reached(index: NDArray[np.int64], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows and those that they read of."""
    marked = np.zeros(len(index), bool)
    marked[rows] = True
    marked[index[rows]] = True
    return np.flatnonzero(marked)


def _blocks(xy: Floats, most: int) -> list[NDArray[np.intp]]:
    """Cut a table into compact blocks: strips along x, and those along y."""
    strips = int(np.ceil(np.sqrt(len(xy) / most)))
    return [
        strip[part]
        for strip in np.array_split(np.argsort(xy[:, 0], kind="stable"), strips)
        for part in np.array_split(np.argsort(xy[strip, 1], kind="stable"), strips)
    ]


@lru_cache(maxsize=1)
def embedder() -> Embedder:
    """Return the network of structures that comes with the package."""
    return load_embedder(FOLDER)


def load_embedder(folder: Path, threads: int = 1) -> Embedder:
    """Load a network of structures and check its weights and its test pair.

    Raises:
        UsageError: The folder is damaged.
    """
    try:
        card = parse_yaml((folder / "structures.yaml").read_text(encoding="utf-8"))
        weights = (folder / "weights.onnx").read_bytes()
        with np.load(folder / "test_pair.npz", allow_pickle=False) as pair:
            arrays = {name: pair[name] for name in pair.files}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"{folder}: no network of structures can be read ({error}); install again."
        ) from error
    found = hashlib.sha256(weights).hexdigest()
    if found != card["weights_sha256"]:
        raise UsageError(f"{folder}: weights.onnx is not that of its card; install again.")
    expected, scatter = arrays.pop("embedding"), arrays.pop("scatter")
    made = Embedder(open_session(weights, threads), found, str(card["version"]), scatter, folder)
    worst = float(np.abs(made.run(arrays) - expected).max())
    if not worst < LARGEST:
        raise UsageError(
            f"{folder}: the network gives {worst:.2g} away from its stored output; "
            "update onnxruntime."
        )
    return made


@dataclass(frozen=True)
class Embedded:
    """Atoms of a table as the classifier sees them.

    Attributes:
        values: (N, D); NaN where a position is missing.
        whole: (N,) whether the surroundings lie within the table; at its rim they are cut.
        spacing: (N,) local spacing in px.
        around: Of the nearest twelve, the rows of those that stand beside each; None where rows are
            no atoms.
    """

    values: Floats
    whole: NDArray[np.bool_]
    spacing: Floats
    around: Around | None = None

    def around_among(self, rows: NDArray[np.intp]) -> Around | None:
        """Return the same for some rows, by their numbers among these."""
        return None if self.around is None else self.around.among(rows)


def frames_of(table: pd.DataFrame) -> list[NDArray[np.intp]]:
    """Return the rows of each frame of a table that have a position; without a frame, of all."""
    frame = table["frame"].to_numpy() if "frame" in table else np.zeros(len(table), int)
    finite = np.isfinite(table[["x_px", "y_px"]].to_numpy(float)).all(axis=1)
    return [np.flatnonzero((frame == f) & finite) for f in np.unique(frame[finite])]


def embed(table: pd.DataFrame, change: Change = SAME, net: Embedder | None = None) -> Embedded:
    """Embed every atom of a table of one or more frames.

    Args:
        table: With x_px and y_px, and with intensity and frame where they are known.
        change: Of the whole table, before anything is read of it.
        net: By default the one that comes with the package.

    Raises:
        UsageError: Positions are missing from the table.
    """
    lacking = [name for name in ("x_px", "y_px") if name not in table]
    if lacking:
        raise UsageError(f"table of atoms without {' and '.join(lacking)}; expected positions.")
    net = net or embedder()
    xy = table[["x_px", "y_px"]].to_numpy(float)
    light = table["intensity"].to_numpy(float) if "intensity" in table else np.full(len(xy), np.nan)
    values = np.full((len(xy), len(net.scatter)), np.nan)
    whole, spacing = np.zeros(len(xy), bool), np.full(len(xy), np.nan)
    near, after = np.full((2, len(xy), NEIGHBOURS), -1, np.int32)
    for rows in frames_of(table):
        seen = surroundings(*change(xy[rows], light[rows]))
        values[rows] = net.run_parts(xy[rows], seen.inputs())
        spacing[rows] = seen.spacing
        apart, other = seen.edge[..., 0], seen.index != np.arange(len(rows))[:, None]
        number = rows[seen.index]
        near[rows] = np.where(other & (apart < NEAR), number, -1)
        after[rows] = np.where(other & (apart >= NEAR) & (apart < NEXT), number, -1)
        low, high = xy[rows].min(axis=0), xy[rows].max(axis=0)
        inside = np.minimum(xy[rows] - low, high - xy[rows]).min(axis=1)
        whole[rows] = inside > CUT * seen.spacing
    return Embedded(values, whole, spacing, Around(near, after))
