"""Quality numbers and the image in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atomscope.quality import Quality, concerns
from atomscope.types import Image

_MODALITIES = {
    "haadf": "HAADF-STEM", "adf": "ADF-STEM", "abf": "ABF-STEM", "bf": "BF-STEM",
    "tem": "TEM", "stm": "STM",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One quality number: its name, value, explanation, and what is off with it, if anything."""

    name: str
    value: str
    note: str
    concern: str | None = None


def describe_image(image: Image) -> list[str]:
    """Return short facts about the image: frames, size, scale, modality."""
    height, width = image.frame_shape
    facts = [f"{width:,} × {height:,} px"]
    if image.n_frames > 1:
        first, last = image.numbers[0], image.numbers[-1]
        facts.insert(0, f"{image.n_frames:,} frames" + (f", {first} to {last}" if first else ""))
    if image.pixel_size is None:
        facts.append("pixel size unknown")
    else:
        facts.append(f"{image.pixel_size:.4g} Å per pixel")
        facts.append(f"{_length(width * image.pixel_size, height * image.pixel_size)}")
    if image.modality in _MODALITIES:
        facts.append(_MODALITIES[image.modality])
    return facts


def quality_rows(result: Quality) -> list[Row]:
    """Return every quality number that is known, in plain words, with what is off."""
    off = concerns(result)
    rows = [_atoms(result, off)]
    if result.n_atoms == 0:
        return rows
    rows += [_spacing(result), _error(result), _refined(result, off), _expected(result, off)]
    rows += [_duplicates(result, off), _gaps(result, off), _border(result, off)]
    return [row for row in rows if row.value]


def verdict_row(verdict: Mapping[str, Any] | None) -> list[Row]:
    """Return the line on how unlike the training world the image is; none where unknown."""
    if not verdict or verdict.get("score") is None:
        return []
    name, reasons = str(verdict["verdict"]), "; ".join(verdict["reasons"])
    note = f"score {verdict['score']:.2f}; 0 like the simulated images of the training, 1 unlike"
    return [Row("Known to the model", name, note, None if name == "in domain" else reasons)]


def _atoms(q: Quality, off: dict[str, str]) -> Row:
    low, middle, high = q.atoms_per_frame
    per_frame = f"{middle:,.6g} in the median frame, {low:,} to {high:,}" if q.n_frames > 1 else ""
    concern = off.get("n_atoms") or off.get("atoms_per_frame")
    return Row("Atoms found", f"{q.n_atoms:,}", per_frame, concern)


def _spacing(q: Quality) -> Row:
    if q.spacing_px is None or q.spacing_spread_px is None:
        return Row("Spacing", "", "")
    value = f"{q.spacing_px:.2f} ± {q.spacing_spread_px:.2f} px"
    if q.spacing_angstrom is not None and q.spacing_spread_angstrom is not None:
        value = f"{q.spacing_angstrom:.3f} ± {q.spacing_spread_angstrom:.3f} Å"
    note = "to the nearest neighbour: median, and spread of the middle 68 %"
    if not q.ordered:
        note += "; too varied for a lattice"
    return Row("Spacing", value, note)


def _error(q: Quality) -> Row:
    if q.error_px is None:
        return Row("Position error", "", "")
    value = f"{q.error_px:.3f} px" if q.error_pm is None else f"{q.error_pm:.2g} pm"
    if q.error_pm is not None and q.error_pm >= 100:
        value = f"{q.error_pm / 100:.2f} Å"
    return Row("Position error", value, "median standard error along one axis")


def _refined(q: Quality, off: dict[str, str]) -> Row:
    value = "" if q.refined_share is None else percent(q.refined_share)
    return Row("Refined", value, "atoms whose fit converged", off.get("refined_share"))


def _expected(q: Quality, off: dict[str, str]) -> Row:
    if q.expected_false is None or q.mean_p is None:
        return Row("Expected false", "", "")
    value = f"{q.expected_false:,.1f}" if q.expected_false < 100 else f"{q.expected_false:,.0f}"
    note = f"of {q.n_atoms:,}, by their probabilities (mean {q.mean_p:.3f})"
    return Row("Expected false", value, note, off.get("expected_false"))


def _duplicates(q: Quality, off: dict[str, str]) -> Row:
    if q.duplicates is None or q.duplicate_px is None:
        return Row("Duplicates", "", "")
    pairs = "pair" if q.duplicates == 1 else "pairs"
    note = f"closer than {q.duplicate_px:.1f} px"
    return Row("Duplicates", f"{q.duplicates:,} {pairs}", note, off.get("duplicates"))


def _gaps(q: Quality, off: dict[str, str]) -> Row:
    if q.gap_share is None or q.gap_count is None or q.enclosed_gap_count is None:
        return Row("Empty field", "", "")
    note = f"farther than {q.gap_px:.0f} px from any atom"
    if q.gap_count:
        places = "place" if q.gap_count == 1 else "places"
        per_frame = " per frame" if q.n_frames > 1 else ""
        note += (
            f", in {q.gap_count:,.3g} {places}{per_frame} ({q.enclosed_gap_count:,.3g} enclosed)"
        )
    return Row("Empty field", percent(q.gap_share), note, off.get("gap_share"))


def _border(q: Quality, off: dict[str, str]) -> Row:
    value = "" if q.border_share is None else percent(q.border_share)
    note = "atoms within one spacing of the border, where neighbours are cut off"
    return Row("Near the border", value, note, off.get("border_share"))


def percent(share: float) -> str:
    """Return a share as percent; nothing is rounded to 0 or 100 that is not."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{round(100 * share, 1):g} %"


def _length(width: float, height: float) -> str:
    if max(width, height) >= 100:
        return f"{width / 10:.3g} × {height / 10:.3g} nm"
    return f"{width:.3g} × {height:.3g} Å"


def length(pixels: float, pixel_size: float | None) -> str:
    """Return a length in Å, or in px without a pixel size."""
    return f"{pixels:.0f} px" if pixel_size is None else f"{pixels * pixel_size:.1f} Å"
