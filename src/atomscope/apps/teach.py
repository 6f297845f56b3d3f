"""`atomscope teach`: a classifier from marked places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from atomscope.apps.track import read_table
from atomscope.apps.train import need_torch
from atomscope.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.classify.embedding import Embedder
    from atomscope.classify.objects import Kind

SUGGESTIONS = 5


def teach(
    examples: Path,
    *sources: Path,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    of: Literal["atom", "place", "bond", "ring"] = "atom",
    radius: float | None = None,
    level: float | None = None,
    finetune: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Teach structures by a few marked atoms, for analyze --classifier.

    Parameters
    ----------
    examples
        CSV with the columns x_px, y_px, label; frame for movies, image where there are several.
        The label none marks atoms that are none of the structures.
    sources
        Folders that analyze wrote, or images, on which the examples lie.
    out
        Folder of the classifier.
    of
        What is marked: atoms, places (all atoms within a radius: phases, regions), or bonds and
        rings by their middle (found with atomscope.classify in Python).
    radius
        Of places, in spacings of the columns: 2.5.
    level
        Probability with which the sets of labels hold the true one: 0.9.
    finetune
        Train the network on for these examples, for about a minute: a better answer where
        structures are alike. Needs pip install 'atomscope[train]'.
    json
        Print what was found as JSON.
    """
    say(
        teach_run(examples, sources, out, of=of, radius=radius, level=level, finetune=finetune),
        as_json=json,
    )
    return 0


def teach_run(
    examples: Path,
    sources: Sequence[Path],
    out: Path,
    *,
    of: Kind = "atom",
    radius: float | None = None,
    level: float | None = None,
    finetune: bool = False,
) -> dict[str, Any]:
    """Teach a classifier from marked places and write its folder.

    Args:
        examples: CSV with label, x_px, y_px, and if need be frame and image.
        sources: Folders of runs, their atoms.csv, or images, which are analysed first.
        out: Folder of the classifier.
        of: What is marked; see `atomscope.teach`.
        radius: Of places, by default 2.5 spacings.
        level: Of the sets of labels, by default 0.9.
        finetune: Train the network on for the examples.

    Returns:
        For the terminal: labels with numbers of examples, and of atoms found in the sources;
        places to mark next.

    Raises:
        InputError: A file cannot be read.
        UsageError: The examples do not fit, or `out` cannot be written.
        MissingExtraError: Fine-tuning was asked for, and torch is not installed.
    """
    from atomscope.classify import classify, read_examples, suggest
    from atomscope.classify import teach as taught
    from atomscope.classify.objects import RADIUS
    from atomscope.classify.teaching import LEVEL

    if not sources:
        raise UsageError("no image given; expected the run folders or images of the examples.")
    marked = read_examples(examples)
    tables = [atoms_of(source) for source in sources]
    names = [source.name for source in sources]
    made = taught(
        tables,
        marked,
        images=names,
        name=out.name,
        level=LEVEL if level is None else level,
        of=of,
        radius=RADIUS if radius is None else radius,
        net=finetuned(tables, marked, names, of, out) if finetune else None,
    )
    made.save(out)
    found = dict.fromkeys(made.labels, 0)
    next_places = []
    for name, table in zip(names, tables, strict=True):
        counts = classify(table, made)["structure"].value_counts()
        found = {label: n + int(counts.get(label, 0)) for label, n in found.items()}
        places = suggest(table, made, SUGGESTIONS)
        places = places[["frame", "x_px", "y_px", "doubt"]]
        next_places += [{"image": name, **row} for row in places.to_dict("records")]
    next_places.sort(key=lambda row: -row["doubt"])
    return {
        "out": str(out),
        "examples": made.card.examples,
        "found": found,
        "mark_next": next_places[:SUGGESTIONS],
    }


def finetuned(
    tables: Sequence[pd.DataFrame], marked: pd.DataFrame, names: Sequence[str], of: Kind, out: Path
) -> Embedder:
    """Train the network of structures on for some examples.

    Raises:
        UsageError: The examples do not fit, or are none of atoms.
        MissingExtraError: torch is not installed.
    """
    import numpy as np

    from atomscope.classify.classifier import NETWORK
    from atomscope.classify.embedding import embed, load_embedder
    from atomscope.classify.examples import matched

    if of not in ("atom", "place"):
        raise UsageError(f"--finetune with --of {of}: expected examples of atoms or places.")
    need_torch("--finetune")
    from atomscope.train.finetune import finetune

    rows = matched(marked, tables, names, [embed(table).spacing for table in tables])
    kind = np.unique(marked["label"].to_numpy().astype(str), return_inverse=True)[1]
    labels = []
    for table, row in zip(tables, rows, strict=True):
        label = np.full(len(table), -1, dtype=np.int64)
        label[row[row >= 0]] = kind[row >= 0]
        labels.append(label)
    return load_embedder(finetune(tables, labels, out / NETWORK))


def atoms_of(source: Path) -> pd.DataFrame:
    """Return the atoms of a run, or of an image, which is analysed."""
    if source.is_dir() or source.suffix == ".csv":
        return read_table(source / "atoms.csv" if source.is_dir() else source)
    from atomscope.pipeline import analyze

    return analyze(source).atoms


def say(report: dict[str, Any], *, as_json: bool) -> None:
    """Print what `teach_run` found."""
    if as_json:
        from json import dumps

        print(dumps(report, indent=1))
        return
    taught = ", ".join(f"{name} by {n}" for name, n in report["examples"].items())
    print(f"{report['out']}: taught {taught}")
    print("  found: " + ", ".join(f"{name} {n:,}" for name, n in report["found"].items()))
    for place in report["mark_next"][:3]:
        at = f"({place['x_px']:.1f}, {place['y_px']:.1f}) in frame {place['frame']}"
        print(f"  mark next: {place['image']} {at}")
