"""What an analysis gives, and the files that are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomscope.errors import UsageError
from atomscope.pipeline.discovered import write_found
from atomscope.pipeline.outputs import CARD, begin
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

    @property
    def shown_frame(self) -> int:
        """Number of the frame that the overlay shows: the first that holds data."""
        blank = self.card["input"]["blank_frames"]
        return next((n for n in self.image.numbers if n not in blank), self.image.first_frame)

    def cell(self, defect: int, *, frame: int | None = None, repeat: int = 6) -> Atoms:
        """Cut a defect out as a periodic cell for a calculator; see `rules.cell.defect_cell`.

        Args:
            defect: Its number in `defects`.
            frame: Of the movie; by default the first.
            repeat: Edge of the box in primitive cells.

        Raises:
            UsageError: There is no such defect, no lattice, no pixel size, or species are unknown.
        """
        from atomscope.rules.cell import defect_cell
        from atomscope.species import fit_lattices

        frame = self.image.first_frame if frame is None else frame
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
        file is written whole or not at all; atoms.csv comes first, run.json last. What an earlier
        run left in the folder is removed before (see `pipeline.outputs`).
        """
        from atomscope.io.write import write_json

        out = Path(out)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{out}: {error.strerror}; expected a folder to write to.") from error
        begin(out, self.atoms)
        self._write_tables(out, parquet=parquet)
        self._write_pictures(out)
        write_json({**self.card, "quality": self.quality.to_dict()}, out / CARD)
        return out

    def _write_tables(self, out: Path, *, parquet: bool) -> None:
        from atomscope.io.write import write_extxyz, write_table

        tables = {"defects.csv": self.defects}
        if len(self.steps):
            tables["steps.csv"] = self.steps
        tables |= {file_of(name): table for name, table in self.measures.items()}
        if self.image.n_frames > 1:
            tables |= {"tracks.csv": self.tracks, "events.csv": self.events}
        if parquet:
            tables["atoms.parquet"] = self.atoms
        for name, table in tables.items():
            write_table(table, out / name)
        write_found(self.discoveries, self.atoms, self.image, out)
        shape, pixel_size = self.image.frame_shape, self.image.pixel_size
        path, count, first = out / "structures.extxyz", self.image.n_frames, self.image.first_frame
        write_extxyz(self.atoms, shape, pixel_size, path, n_frames=count, first_frame=first)

    def _write_pictures(self, out: Path) -> None:
        """Write the overlay of the first frame that holds data, and the page."""
        from atomscope.columns import of_frame
        from atomscope.plot import network, overlay, view_of
        from atomscope.report import host_of, write_report

        number, size, host = self.shown_frame, self.image.pixel_size, host_of(self.card)
        first = of_frame(self.atoms, number)
        overlay(
            view_of(self.image, number),
            first,
            out / "overlay.png",
            pixel_size=size,
            net=network(first, host=host, shape=self.image.frame_shape, pixel_size=size),
            defects=of_frame(self.defects, number),
        )
        write_report(
            out / "report.html",
            self.image,
            self.atoms,
            quality=self.quality,
            card=self.card,
            reliability=self.card["model"]["reliability"],
            defects=self.defects,
            tracks=self.tracks,
            events=self.events,
            measures=self.measures,
            discoveries=self.discoveries,
        )
