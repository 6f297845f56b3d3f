"""A model is a folder: card.yaml, weights.onnx, test pair. Loading runs no code from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from atomscope.documents import fault, parse_yaml
from atomscope.errors import UsageError

ZOO = Path(__file__).parent / "zoo"
LEAST_HEAT = 1e-3  # a logit needs bounds
MOST_PROMINENCE = 8.0  # beyond, a spot is as clear as can be


class Curve(BaseModel):
    """Knots of a line: heat of a maximum, and the share of such maxima that are columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    heat: tuple[float, ...]
    p: tuple[float, ...]

    def probability(self, heat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities (N,) of maxima with the given heat (N,)."""
        return np.interp(heat, self.heat, self.p)


class Spots(BaseModel):
    """Logistic model of isolated atoms on a support, where most maxima are texture.

    Attributes:
        intercept: Logit where heat is one half and prominence 0.
        heat: Slope by the logit of the heat.
        prominence: Slope by the prominence.
        least_prominence: Spots that stand out less are no atoms.
        least_p: Less probable ones are left out where nobody asks for another limit. On supports
            that are hard to see, half of them being true is too much to ask: F1 is highest near
            half of itself (Lipton et al., arXiv:1402.1892).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    intercept: float
    heat: float
    prominence: float
    least_prominence: float
    least_p: float = 0.5

    def probability(
        self, heat: NDArray[np.float64], prominence: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the probabilities (N,) of maxima with given heat (N,) and prominence (N,)."""
        safe = heat.clip(LEAST_HEAT, 1 - LEAST_HEAT)
        logit = self.intercept + self.heat * np.log(safe / (1 - safe))
        logit = logit + self.prominence * np.minimum(prominence, MOST_PROMINENCE)
        p = 1 / (1 + np.exp(-logit))
        return np.asarray(np.where(prominence >= self.least_prominence, p, 0.0))


class Calibration(BaseModel):
    """From the heat of a maximum to the probability that it is a column.

    For frames with a lattice, and for isolated atoms; None where a model knows none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lattice: Curve
    isolated: Spots | None


class Reliability(BaseModel):
    """Reliability curve on worlds held apart from training: stated against observed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stated: tuple[float, ...]
    observed: tuple[float, ...]
    counts: tuple[int, ...]
    expected_calibration_error: float


class ColumnClass(BaseModel):
    """A class of columns that a model tells apart.

    Attributes:
        name: What it is called, for example 'chalcogen pair'.
        species: Formula, for example 'S2'; empty where the class does not say it.
        vacant: True for sites of the lattice where nothing is.
        share: Of the sites of the world that calibrated the classes; 0 while unknown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    species: str = ""
    vacant: bool = False
    share: float = 0.0


class Card(BaseModel):
    """What a model is, how it was made and how well it does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    task: str
    description: str
    spacing_px: float
    sigma_px: float
    classes: tuple[ColumnClass, ...] = ()
    halo_px: int
    least_heat: float
    calibration: Calibration
    reliability: Reliability
    recipe: dict[str, Any]
    scores: dict[str, float]
    scored_at_commit: str
    weights_sha256: str
    licence: str


class Maps(NamedTuple):
    """What a network gives for every pixel.

    Attributes:
        heat: (y, x), 0 to 1, with a maximum at every column.
        offset: (2, y, x), the vector (dx, dy) in px to the nearest column.
        label: (K, y, x), probabilities of the classes of the nearest column; K may be 0.
    """

    heat: NDArray[np.float32]
    offset: NDArray[np.float32]
    label: NDArray[np.float32]


@dataclass(frozen=True)
class Model:
    """A loaded model: its card and a session of ONNX Runtime."""

    card: Card
    session: Any
    sha256: str

    def run(self, frame: NDArray[np.float32]) -> Maps:
        """Return the maps of a normalised frame (2, y, x)."""
        heat, offset, *label = self.session.run(None, {"frame": frame[None]}, _shrinking())
        none = np.empty((0, *heat.shape[2:]), dtype=np.float32)
        return Maps(heat[0, 0], offset[0], label[0][0] if label else none)


@cache
def _shrinking() -> Any:
    """Options of a run that gives its memory back: of a large tile it is 150 MB."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def names() -> tuple[str, ...]:
    """Return the names of the models that come with the package."""
    return tuple(sorted(p.parent.name for p in ZOO.glob("*/card.yaml")))


def read_card(name: str) -> tuple[Card, Path]:
    """Return the card and folder of a model, given by its name or its folder.

    Raises:
        UsageError: There is no such model, or its card cannot be read.
    """
    folder = ZOO / name if name in names() else Path(name)
    path = folder / "card.yaml"
    if not path.is_file():
        known = ", ".join(names()) or "none"
        raise UsageError(
            f"model {name!r}: neither a model of the package ({known}) nor a folder with card.yaml."
        )
    try:
        return Card.model_validate(parse_yaml(path.read_text(encoding="utf-8"))), folder
    except (UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise UsageError(
            f"{path}: not a model card ({fault(error)}). Copy the model folder again."
        ) from error


@lru_cache(maxsize=4)
def load(name: str = "universal", threads: int = 0) -> Model:
    """Load a model by name or folder and check its weights against card and test pair.

    Args:
        name: Name of a model of the package, or a folder.
        threads: Threads of the runtime; 0 lets it choose.

    Raises:
        UsageError: No such model, or its weights are not those of the card.
    """
    card, folder = read_card(name)
    try:
        weights = (folder / "weights.onnx").read_bytes()
    except OSError as error:
        raise UsageError(f"{folder}: weights.onnx cannot be read ({error.strerror}).") from error
    found = hashlib.sha256(weights).hexdigest()
    if found != card.weights_sha256:
        raise UsageError(
            f"{folder}: weights.onnx has SHA-256 {found[:12]}…, the card says "
            f"{card.weights_sha256[:12]}…; copy the model folder again."
        )
    model = Model(card, open_session(weights, threads), found)
    _check(model, folder)
    return model


def open_session(weights: bytes, threads: int = 0) -> Any:
    """Return a session of ONNX Runtime on the CPU; 0 threads lets it choose."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


def _check(model: Model, folder: Path) -> None:
    """Run the stored test input: another runtime or machine must give the stored output."""
    with np.load(folder / "test_pair.npz", allow_pickle=False) as pair:
        maps = model.run(pair["frame"])
        worst = max(
            np.abs(maps.heat - pair["heat"]).max(),
            np.abs(maps.offset - pair["offset"]).max() / 10,
            np.abs(maps.label - pair["label"]).max(initial=0.0),
        )
    if not worst < 0.02:
        raise UsageError(
            f"{folder}: the model gives {worst:.3f} away from its stored test output; "
            "update onnxruntime or copy the model folder again."
        )
