"""What an analysis gives, and the files that are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomscope.errors import UsageError
from atomscope.pipeline.discovered import write_found
from atomscope.pipeline.statistics import file_of
from atomscope.types import Image

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms

    from atomscope.discover import Discoveries
    from atomscope.quality import Quality


@dataclass(frozen=True)
class Result:
    """What an analysis gives.

    Attributes:
        image: The input.
        atoms: Table of `atomscope.columns.ATOMS`, all frames.
        defects: Table of `atomscope.columns.DEFECTS`: what rules of chemistry name, with the
            empty sites that a model with classes or the fitted lattice shows.
        tracks: Table of `atomscope.columns.TRACKS`; no rows where the input is one image.
        events: Table of `atomscope.columns.EVENTS`.
        steps: Table of `atomscope.columns.STEPS`; no rows where the recipe has no task chain.
        measures: Tables of `atomscope.measure` by name; none where the recipe does not ask.
        quality: Numbers that tell where the result is weak.
        card: Run card: hashes, recipe, versions, timings, warnings.
        discoveries: What recurs and has no name; None where it was not looked for.
    """

    image: Image
    atoms: pd.DataFrame
    defects: pd.DataFrame
    tracks: pd.DataFrame
    events: pd.DataFrame
    steps: pd.DataFrame
    measures: dict[str, pd.DataFrame]
    quality: Quality
    card: dict[str, Any]
    discoveries: Discoveries | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each thing that a user should know."""
        return tuple(self.card["warnings"])

    def cell(self, defect: int, *, frame: int = 0, repeat: int = 6) -> Atoms:
        """Cut a defect out as a periodic cell for a calculator; see `rules.cell.defect_cell`.

        Args:
            defect: Its number in `defects`.
            frame: Of the movie.
            repeat: Edge of the box in primitive cells.

        Raises:
            UsageError: There is no such defect, no lattice, no pixel size, or species are unknown.
        """
        from atomscope.rules.cell import defect_cell
        from atomscope.species import fit_lattices

        rows = self.defects[(self.defects["frame"] == frame) & (self.defects["defect"] == defect)]
        if len(rows) == 0:
            raise UsageError(f"frame {frame} has no defect {defect}; see the table `defects`.")
        atoms = self.atoms[self.atoms["frame"] == frame]
        lattice = fit_lattices(atoms).get(frame)
        if lattice is None or self.image.pixel_size is None:
            raise UsageError(
                f"{self.image.name}: a cell needs a lattice and a pixel size; give "
                "pixel_size or material."
            )
        place = (float(rows["x_px"].iloc[0]), float(rows["y_px"].iloc[0]))
        return defect_cell(atoms, place, lattice, self.image.pixel_size, repeat=repeat)

    def save(self, out: str | Path, *, parquet: bool = False) -> Path:
        """Write atoms.csv, structures.extxyz, overlay.png, report.html and run.json into a folder.

        With defects.csv, of a task chain steps.csv, of statistics measures.csv and others, of what
        was discovered discoveries.csv and cells, and of a movie tracks.csv and events.csv. Every
        file is written whole or not at all; atoms.csv comes first, run.json last.
        """
        from atomscope.columns import of_frame
        from atomscope.io.write import write_extxyz, write_json, write_table
        from atomscope.plot import network, overlay, view_of
        from atomscope.report import write_report

        out = Path(out)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{out}: {error.strerror}; expected a folder to write to.") from error
        write_table(self.atoms, out / "atoms.csv")
        write_table(self.defects, out / "defects.csv")
        if len(self.steps):
            write_table(self.steps, out / "steps.csv")
        for name, table in self.measures.items():
            write_table(table, out / file_of(name))
        write_found(self.discoveries, self.atoms, self.image, out)
        if self.image.n_frames > 1:
            write_table(self.tracks, out / "tracks.csv")
            write_table(self.events, out / "events.csv")
        if parquet:
            write_table(self.atoms, out / "atoms.parquet")
        shape, pixel_size = self.image.frame_shape, self.image.pixel_size
        count = self.image.n_frames
        write_extxyz(self.atoms, shape, pixel_size, out / "structures.extxyz", n_frames=count)
        curve = self.card["model"]["reliability"]
        first = of_frame(self.atoms, 0)
        host = self.card["defects"].get("host")
        overlay(
            view_of(self.image, 0),
            first,
            out / "overlay.png",
            pixel_size=pixel_size,
            net=network(first, host=host, shape=shape, pixel_size=pixel_size),
            defects=self.defects[self.defects["frame"] == 0],
        )
        write_report(
            out / "report.html",
            self.image,
            self.atoms,
            quality=self.quality,
            card=self.card,
            reliability={**curve, "bins": curve["stated"]},
            defects=self.defects,
            tracks=self.tracks,
            events=self.events,
            measures=self.measures,
            discoveries=self.discoveries,
        )
        write_json({**self.card, "quality": self.quality.to_dict()}, out / "run.json")
        return out
