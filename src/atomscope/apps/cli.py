"""The command line: one program, one sub-command per verb.

Nothing heavy is imported before a command runs, so that --help answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from atomscope import __version__
from atomscope.apps.faults import interrupted, told
from atomscope.apps.models import models_app
from atomscope.apps.teach import teach

Out = Annotated[Path, Parameter(name=["--out", "-o"])]
STOPPED = "stopped; files already written are whole; a run without run.json is unfinished."
Switch = Annotated[bool, Parameter(negative="")]

app = App(
    name="atomscope",
    help="From an atom-resolved micrograph (STEM, STM) to a calibrated table of atoms.",
    version=__version__,
    suppress_keyboard_interrupt=False,  # `run` says what is kept
)
app.command(models_app)
app.command(teach)


@app.command
def analyze(
    *inputs: Path,
    out: Out = Path("out"),
    sample: str | None = None,
    pixel_size: float | None = None,
    elements: str | None = None,
    select: str | None = None,
    frames: str | None = None,
    contrast: Literal["auto", "bright", "dark"] | None = None,
    model: str | None = None,
    recipe: str = "columns",
    rules: str | None = None,
    material: str | None = None,
    classifier: tuple[Path, ...] = (),
    jobs: int = 1,
    format: Literal["csv", "parquet"] = "csv",
    json: Switch = False,
) -> int:
    """Find every atom of one or more micrographs and write tables, pictures and a report.

    Parameters
    ----------
    inputs
        Files: dm3, dm4, emd, ser, mrc, tif, h5, sxm, npy, png, mp4 and more.
    out
        Folder for the results; with several inputs each gets a subfolder.
    sample
        Analyse a sample that comes with the package instead: graphene-si.
    pixel_size
        Size of a pixel in Å, where the file does not say or is wrong.
    elements
        What the columns may be, to name species: C,Si or Mo,S2,S (S2: two atoms in a column).
    select
        Number or name of the image to take from a file that holds several (see info).
    frames
        Frames A:B of a movie, from A up to but not including B.
    contrast
        Whether atoms are bright or dark.
    model
        Name or folder of another detector.
    recipe
        Name of a built-in recipe, or a YAML file.
    rules
        Rule book that names defects: graphene, hbn, tmd, perovskite, or a YAML file.
    material
        What the image shows (graphene, 1H-MoS2, SrTiO3): names the columns, and measures the pixel
        size from the lattice where the file has none.
    classifier
        Folder that teach wrote; several are asked in turn.
    jobs
        Frames of a movie to work on at the same time.
    format
        parquet writes atoms.parquet beside atoms.csv.
    json
        Print a machine-readable summary on standard output.
    """
    from atomscope.apps.run import Options, run_all

    options = Options(
        out=out,
        pixel_size=pixel_size,
        elements=elements,
        select=select,
        frames=frames,
        contrast=contrast,
        model=model,
        recipe=recipe,
        rules=rules,
        material=material,
        classifiers=classifier,
        jobs=jobs,
        parquet=format == "parquet",
        json=json,
    )
    return run_all(list(inputs), sample, options)


@app.command
def info(file: Path, *, json: Switch = False) -> int:
    """List the images that a file holds, with size, pixel size and kind.

    Parameters
    ----------
    file
        Any file that atomscope reads.
    json
        Print the list as JSON.
    """
    from atomscope.apps.show import show_file

    show_file(file, as_json=json)
    return 0


@app.command
def simulate(
    recipe: str,
    *,
    out: Out,
    count: int | None = None,
    size: int | None = None,
    seed: int = 0,
    shard: int | None = None,
    multislice: Switch = False,
) -> int:
    """Write a set of simulated images with class maps and tables of their columns.

    The same seed gives the same bytes; a run that was stopped goes on where it was.

    Parameters
    ----------
    recipe
        Name of a built-in training recipe (universal, graphene, tmd, stm, ...), or a YAML file.
        With --multislice a layer with defects instead: graphene-si, mos2-s, or a YAML file.
    out
        Folder of the set: shards of frames, tables, manifest.json.
    count
        Number of images: by default 1000, with --multislice 12.
    size
        Edge of an image in px; by default that of the recipe's patches.
    seed
        Seed of the set.
    shard
        Images per file: by default 250, with --multislice 2.
    multislice
        Simulate noise-free frames with abTEM (needs the extra 'simulate').
    """
    from atomscope.apps.simulate import simulate_with_a_bar

    options = {"count": count, "size": size, "seed": seed, "shard": shard}
    simulate_with_a_bar(recipe, out, **options, multislice=multislice)
    return 0


@app.command
def train(
    recipe: str | None = None,
    *,
    out: Out,
    structure: str | None = None,
    zone: str = "001",
    workers: int = 1,
    threads: int = 1,
    device: str = "cpu",
) -> int:
    """Train a detector and write its model folder (needs the extra 'train').

    From a recipe, or for one structure: `--structure mos2.cif --zone 001` makes a network that
    knows the columns of that crystal and its empty sites. A run that was stopped goes on where
    it was when started again with the same folder.

    Parameters
    ----------
    recipe
        Name of a built-in training recipe (universal, graphene, tmd, ...), or a YAML file.
    out
        Folder of the run: checkpoints, metrics.csv, and the finished model in model/.
    structure
        Name of a material, or a file with a structure (CIF, POSCAR, xyz, ...).
    zone
        Zone axis of the structure: 001, 1-10, or "1 1 0".
    workers
        Processes that draw training patches.
    threads
        Threads of the training itself.
    device
        cpu, cuda, or another device of torch.
    """
    from atomscope.apps.train import Resources, plan_of, train_and_ship

    plan = plan_of(recipe, structure, zone)
    train_and_ship(plan, out, Resources(workers, threads, device))
    return 0


@app.command
def track(
    source: Path,
    *,
    out: Out,
    frame_time: float | None = None,
    dose: float | None = None,
    json: Switch = False,
) -> int:
    """Follow the atoms and defects of a movie, and tell what happened to them.

    Parameters
    ----------
    source
        Folder that analyze wrote, or its atoms.csv; defects.csv is read from beside it.
    out
        Folder for tracks.csv, events.csv, transitions.csv and events.json.
    frame_time
        Time from frame to frame in s, for rates per second.
    dose
        Electrons per Å² and frame, for rates per dose.
    json
        Print the counts as JSON.
    """
    from atomscope.apps.track import say, track_run

    say(track_run(source, out, frame_time=frame_time, dose=dose), out, as_json=json)
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and leave with its exit code; known errors end in one line."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    from cyclopts.exceptions import CycloptsError

    # Matrices here are small: on a busy machine the threads of BLAS only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy reads it when it is imported
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()  # whoever reads may have gone, and is to be noticed here
    except BrokenPipeError:  # head and the like have seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as of programs that a closed pipe ends
    except KeyboardInterrupt:
        return _complain(STOPPED, 130)  # as of programs that SIGINT ends
    except CycloptsError as error:
        return _complain(" ".join(str(error).split()), 2)
    except Exception as error:
        if interrupted(error):
            return _complain(STOPPED, 130)
        code, line = told(error)
        return _complain(line, code)
    return int(code or 0)


def _complain(line: str, code: int) -> int:
    print(f"atomscope: {line}", file=sys.stderr)
    return code
