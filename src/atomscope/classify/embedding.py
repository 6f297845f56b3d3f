"""What an atom looks like to the network of structures: its embedding, from ONNX Runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from atomscope.classify.adapt import SAME, Change
from atomscope.classify.beside import Around
from atomscope.columns import is_placed, positions
from atomscope.documents import parse_yaml
from atomscope.errors import UsageError
from atomscope.models.blocks import MANY, blockwise, cores, in_threads, slices
from atomscope.models.store import ZOO, open_session
from atomscope.models.surroundings import NEIGHBOURS, Ints, Surroundings, surroundings

Floats = NDArray[np.float64]
FOLDER = ZOO / "structures"
ROUNDS = ("first", "second")  # of messages, a graph each
LARGEST = 1e-3  # what another runtime may give away from the stored output
CHUNK = 256  # atoms that a round takes at a time: what it makes of them fits the cache of a core
PART = 4096  # atoms that lie together
NEAR, NEXT = 1.35, 1.95  # local spacings: within these are the nearest, and the next nearest
CUT = 1.5  # local spacings: atoms nearer to the rim of the table have cut surroundings


@dataclass(frozen=True)
class Embedder:
    """The network and what is known of its embeddings.

    Attributes:
        sessions: Of ONNX Runtime, one for each round of messages; one for both in folders of
            networks that were trained on before.
        sha256: Of its weights, by which taught classifiers know it.
        version: Of the model.
        scatter: (D, D) covariance of atoms of one class, from worlds held apart.
        folder: That it was loaded from.
    """

    sessions: tuple[Any, ...]
    sha256: str
    version: str
    scatter: Floats
    folder: Path

    def run(
        self, inputs: Mapping[str, NDArray[Any]], most: int = CHUNK, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Return the embedding (N, D) of what `surroundings` gave.

        Args:
            inputs: Of all atoms; faster where those that lie together stand together.
            most: Atoms that are worked on at a time.
            threads: By default all cores for large tables, one for others.
        """
        count = len(inputs["node"])
        threads = threads or (cores() if count >= MANY else 1)
        found = np.zeros((count, len(self.scatter)), np.float32)
        if len(self.sessions) == 1:
            _in_one(self.sessions[0], inputs, found, threads)
            return found
        first, second = self.sessions
        between = {
            name.name: np.zeros((count, name.shape[1]), np.float32) for name in first.get_outputs()
        }
        bonds = {name: values for name, values in inputs.items() if name != "node"}
        bonds["index"] = np.asarray(bonds["index"], np.int32)
        bonds["rows"] = np.arange(count, dtype=np.int32)
        _round(first, {"node": inputs["node"]}, bonds, list(between.values()), most, threads)
        _round(second, between, bonds, [found], most, threads)
        return found


def _round(
    session: Any,
    read: Mapping[str, NDArray[Any]],
    bonds: Mapping[str, NDArray[Any]],
    made: Sequence[NDArray[np.float32]],
    most: int,
    threads: int,
) -> None:
    """Run one round into `made`, for a few atoms at a time, which may read of all others."""

    def work(rows: slice) -> None:
        part = {name: values[rows] for name, values in bonds.items()}
        for whole, values in zip(made, session.run(None, {**read, **part}), strict=True):
            whole[rows] = values

    in_threads(work, slices(len(made[0]), most), threads)


def _in_one(
    session: Any, inputs: Mapping[str, NDArray[Any]], found: NDArray[np.float32], threads: int
) -> None:
    """Run both rounds as one graph: each block with all that it reaches in two rounds."""
    index = inputs["index"]

    def work(rows: slice) -> None:
        block = np.arange(len(index))[rows]
        reached = np.unique(index[np.unique(index[rows])])
        reached = np.union1d(reached, block)  # atoms with few neighbours may not be among them
        part = {name: values[reached] for name, values in inputs.items()}
        # those at the rim of a block reach out of it; nothing is read of them but their node
        part["index"] = np.searchsorted(reached, part["index"]).clip(max=len(reached) - 1)
        found[rows] = session.run(None, part)[0][np.searchsorted(reached, block)]

    in_threads(work, slices(len(index), PART), threads)


def _together(xy: Floats) -> NDArray[np.intp]:
    """Return an order in which atoms that lie together stand together: blocks of strips."""
    strips = int(np.ceil(np.sqrt(len(xy) / PART)))
    blocks = [
        strip[part]
        for strip in np.array_split(np.argsort(xy[:, 0]), strips)
        for part in np.array_split(np.argsort(xy[strip, 1]), strips)
    ]
    return np.concatenate(blocks)


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
        told = card.get("rounds_sha256", [card["weights_sha256"]])
        names = ROUNDS if len(told) > 1 else ("weights",)
        graphs = [(folder / f"{name}.onnx").read_bytes() for name in names]
        with np.load(folder / "test_pair.npz", allow_pickle=False) as pair:
            arrays = {name: pair[name] for name in pair.files}
    except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
        raise UsageError(
            f"{folder}: no network of structures can be read ({error}); install again."
        ) from error
    for name, graph, sha256 in zip(names, graphs, told, strict=True):
        if hashlib.sha256(graph).hexdigest() != sha256:
            raise UsageError(f"{folder}: {name}.onnx is not that of its card; install again.")
    expected, scatter = arrays.pop("embedding"), arrays.pop("scatter")
    sessions = tuple(open_session(graph, threads) for graph in graphs)
    made = Embedder(sessions, card["weights_sha256"], str(card["version"]), scatter, folder)
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
        light: (N,) log brightness over that of the frame, NaN where it is unknown; None where rows
            are no atoms.
    """

    values: Floats
    whole: NDArray[np.bool_]
    spacing: Floats
    around: Around | None = None
    light: Floats | None = None

    def around_among(self, rows: NDArray[np.intp]) -> Around | None:
        """Return the same for some rows, by their numbers among these."""
        return None if self.around is None else self.around.among(rows)


def frames_of(table: pd.DataFrame) -> list[NDArray[np.intp]]:
    """Return the rows of each frame of a table that have a position; without a frame, of all."""
    frame = table["frame"].to_numpy() if "frame" in table else np.zeros(len(table), int)
    finite = is_placed(table)
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
    net = net or embedder()
    xy = positions(table)
    light = table["intensity"].to_numpy(float) if "intensity" in table else np.full(len(xy), np.nan)
    values = np.full((len(xy), len(net.scatter)), np.nan)
    whole, spacing = np.zeros(len(xy), bool), np.full(len(xy), np.nan)
    near, after = np.full((2, len(xy), NEIGHBOURS), -1, np.int32)
    log = np.full(len(xy), np.nan)
    for frame in frames_of(table):
        rows = frame[_together(xy[frame])]
        seen = surroundings(*change(xy[rows], light[rows]))
        values[rows] = net.run(seen.inputs())
        spacing[rows] = seen.spacing
        log[rows] = np.where(np.isfinite(light[rows]), seen.log, np.nan)
        blockwise(partial(_beside, seen, rows, near, after), len(rows))
        low, high = xy[rows].min(axis=0), xy[rows].max(axis=0)
        inside = np.minimum(xy[rows] - low, high - xy[rows]).min(axis=1)
        whole[rows] = inside > CUT * seen.spacing
    return Embedded(values, whole, spacing, Around(near, after), log)


def _beside(
    seen: Surroundings, rows: NDArray[np.intp], near: Ints, after: Ints, part: slice
) -> None:
    """Write the numbers of those that stand beside a part of the rows of a frame."""
    apart, number = seen.edge[part, :, 0], rows[seen.index[part]]
    other = number != rows[part, None]
    close = apart < NEAR
    near[rows[part]] = np.where(other & close, number, -1)
    after[rows[part]] = np.where(other & ~close & (apart < NEXT), number, -1)
