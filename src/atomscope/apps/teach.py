"""`atomscope teach`, and classifiers in `atomscope analyze`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from atomscope.apps.track import read_atoms
from atomscope.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.classify import Classifier
    from atomscope.pipeline import Result

SUGGESTIONS = 5


def teach(
    examples: Path,
    *sources: Path,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    level: float | None = None,
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
    level
        Probability with which the sets of labels hold the true one: 0.9.
    json
        Print what was found as JSON.
    """
    say(teach_run(examples, sources, out, level=level), as_json=json)
    return 0


def teach_run(
    examples: Path, sources: Sequence[Path], out: Path, *, level: float | None = None
) -> dict[str, Any]:
    """Teach a classifier from marked places and write its folder.

    Args:
        examples: CSV with label, x_px, y_px, and if need be frame and image.
        sources: Folders of runs, their atoms.csv, or images, which are analysed first.
        out: Folder of the classifier.
        level: Of the sets of labels, by default 0.9.

    Returns:
        For the terminal: labels with numbers of examples, and of atoms found in the sources;
        places to mark next.

    Raises:
        InputError: A file cannot be read.
        UsageError: The examples do not fit, or `out` cannot be written.
    """
    from atomscope.classify import classify, read_examples, suggest
    from atomscope.classify import teach as taught
    from atomscope.classify.teaching import LEVEL

    if not sources:
        raise UsageError("no image given; expected the run folders or images of the examples.")
    marked = read_examples(examples)
    tables = [atoms_of(source) for source in sources]
    names = [source.name for source in sources]
    made = taught(
        tables, marked, images=names, name=out.name, level=LEVEL if level is None else level
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


def atoms_of(source: Path) -> pd.DataFrame:
    """Return the atoms of a run, or of an image, which is analysed."""
    if source.is_dir() or source.suffix == ".csv":
        return read_atoms(source / "atoms.csv" if source.is_dir() else source)
    from atomscope.pipeline import analyze

    return analyze(source).atoms


def loaded(folders: Sequence[Path]) -> tuple[Classifier, ...]:
    """Load classifiers before any work is done."""
    from atomscope.classify import load

    return tuple(load(folder) for folder in folders)


def with_structures(result: Result, classifiers: Sequence[Classifier]) -> Result:
    """Let classifiers fill `structure` in their order; later ones see what is still empty."""
    from atomscope.classify import classify

    atoms = result.atoms
    for classifier in classifiers:
        fresh = classify(atoms, classifier)
        keep = (atoms["structure"] != "").to_numpy(bool)
        for name in ("structure", "structure_p"):
            fresh[name] = fresh[name].where(~keep, atoms[name])
        atoms = fresh
    if not classifiers:
        return result
    counts = atoms.loc[atoms["structure"] != "", "structure"].value_counts()
    facts = {
        "classifiers": [c.card.name for c in classifiers],
        "found": {str(name): int(n) for name, n in counts.items()},
    }
    return replace(result, atoms=atoms, card={**result.card, "structures": facts})


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
