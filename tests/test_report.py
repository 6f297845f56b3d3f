"""The report: whole without a network, true to the table, deaf to hostile names."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atomscope.columns import DEFECTS, EVENTS, TRACKS, conform, empty
from atomscope.plot import grey
from atomscope.quality import quality
from atomscope.report import write_report
from atomscope.report.charts import reliability_chart
from atomscope.report.defects import kinds
from atomscope.report.motifs import gallery
from atomscope.report.pictures import MAX_BYTES, pick_frames
from atomscope.report.timeline import runs, states_of
from atomscope.report.words import describe_image, percent, quality_rows
from atomscope.rules.statistics import poisson_interval
from atomscope.types import Image

SHAPE = (48, 64)


class Page(HTMLParser):
    """What a browser would see: tags, what they load, texts, styles and scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self._open: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.inside:
            self.inside[tag].append("")
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.inside:
            self.inside[self._open[-1]][-1] += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def loads(self) -> list[str]:
        """Every address that the browser would fetch by itself."""
        names = ("src", "href", "srcset", "data", "poster", "action")
        found = [attrs[n] or "" for _, attrs in self.tags for n in names if n in attrs]
        for style in self.inside["style"]:
            found += re.findall(r"url\(\s*['\"]?([^'\")]+)", style)
            found += re.findall(r"@import\s+['\"]([^'\"]+)", style)
        return found

    @property
    def pictures(self) -> list[np.ndarray]:
        texts = [s for s in self.inside["script"] if s.startswith('["data:image')]
        uris = json.loads(texts[0])
        return [imageio.imread(base64.b64decode(uri.partition(",")[2])) for uri in uris]

    @property
    def document(self) -> dict[str, Any]:
        """The figure and its data, as the browser gets them."""
        texts = [s for s in self.inside["script"] if '"roots"' in s and s.strip().startswith("{")]
        return next(iter(json.loads(texts[0]).values()))


def models(node: Any, name: str) -> list[dict[str, Any]]:
    """All models of one kind in a document."""
    found = []
    if isinstance(node, dict):
        if node.get("type") == "object" and node.get("name") == name:
            found.append(node)
        for inner in node.values():
            found += models(inner, name)
    elif isinstance(node, list):
        for inner in node:
            found += models(inner, name)
    return found


def unpack(array: dict[str, Any]) -> np.ndarray:
    data = base64.b64decode(array["array"]["data"])
    return np.frombuffer(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data, array["dtype"])


def embedded_columns(page: Page) -> dict[str, np.ndarray]:
    """The table of atoms inside the page."""
    for source in models(page.document, "ColumnDataSource"):
        entries = dict(source["attributes"]["data"]["entries"])
        if "x_px" in entries:
            return {name: unpack(array) for name, array in entries.items()}
    raise AssertionError("no table of atoms in the page")


def make_image(n_frames: int = 1, shape: tuple[int, int] = SHAPE, **about: Any) -> Image:
    rng = np.random.default_rng(1)
    data = rng.poisson(20, (n_frames, *shape)).astype(np.float32)
    return Image(data if n_frames > 1 else data[0], **about)


def make_atoms(n: int, n_frames: int = 1, shape: tuple[int, int] = SHAPE) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    rows = n * n_frames
    table = {
        "frame": np.repeat(np.arange(n_frames), n),
        "atom": np.tile(np.arange(n), n_frames),
        "x_px": rng.uniform(0, shape[1] - 1, rows),
        "y_px": rng.uniform(0, shape[0] - 1, rows),
        "x_err_px": 0.1,
        "y_err_px": 0.1,
        "p": rng.beta(9, 1, rows),
        "species": rng.choice(["C", "Si"], rows),
        "intensity": rng.normal(100, 5, rows),
    }
    return conform(pd.DataFrame(table))


def make_defects(atoms: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """One defect in each frame, around its first three atoms."""
    first = atoms.groupby("frame").head(3).groupby("frame")
    table = first[["x_px", "y_px"]].mean().reset_index()
    base = {"name": "V1", "formula": "12", "n_atoms": 3, "atoms": "0 1 2", "p": 0.9, "known": True}
    return conform(table.assign(**{**base, **columns}), DEFECTS)


def report(path: Path, image: Image, atoms: pd.DataFrame, **extra: Any) -> Page:
    numbers = quality(atoms, image.frame_shape, image.n_frames, image.pixel_size)
    card = {"versions": {"atomscope": "1.2.3"}, "warnings": ["look here"]}
    write_report(path, image, atoms, quality=numbers, **{"card": card, **extra})
    return Page(path)


# --- no network -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_frames", [1, 5])
def test_nothing_is_loaded_from_anywhere(tmp_path: Path, n_frames: int) -> None:
    page = report(tmp_path / "r.html", make_image(n_frames), make_atoms(20, n_frames))
    assert [address for address in page.loads if not address.startswith(("data:", "#"))] == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "object", "embed", "base"})
    assert "cdn.bokeh.org" not in page.source.split("<body>")[1]


# --- true to the table ------------------------------------------------------------------------


def test_coordinates_are_those_of_the_table_in_every_frame(tmp_path: Path) -> None:
    image, atoms = make_image(4, pixel_size=0.1), make_atoms(25, 4)
    shuffled = atoms.sample(frac=1, random_state=0)
    columns = embedded_columns(report(tmp_path / "r.html", image, shuffled))
    order = np.lexsort([columns["atom"], np.repeat(np.arange(4), 25)])
    for name in ("x_px", "y_px", "x_err_px", "p", "intensity"):
        np.testing.assert_allclose(columns[name][order], atoms[name], rtol=1e-6)


def test_colours_are_the_same_on_the_image_and_in_the_charts(tmp_path: Path) -> None:
    image, atoms = make_image(2), make_atoms(30, 2)
    atoms["species"] = np.where(atoms["frame"] == 0, "Si", np.where(atoms["atom"] < 9, "C", "N"))
    page = report(tmp_path / "r.html", image, atoms.sample(frac=1, random_state=1))
    columns = embedded_columns(page)
    order = np.lexsort([columns["atom"], np.repeat([0, 1], 30)])
    expected = [["C", "N", "Si"].index(name) for name in atoms["species"]]
    np.testing.assert_array_equal(columns["class"][order], expected)


def test_y_points_down(tmp_path: Path) -> None:
    page = report(tmp_path / "r.html", make_image(), make_atoms(5))
    viewer = next(
        m for m in models(page.document, "Figure") if m["attributes"].get("name") == "viewer"
    )
    y = viewer["attributes"]["y_range"]["attributes"]
    assert (y["start"], y["end"]) == (SHAPE[0] - 0.5, -0.5)


def test_small_frames_are_embedded_as_they_are(tmp_path: Path) -> None:
    image = make_image(3)
    pictures = report(tmp_path / "r.html", image, make_atoms(5, 3)).pictures
    for picture, frame in zip(pictures, image.frames(), strict=True):
        np.testing.assert_array_equal(picture, grey(frame))


def test_a_large_frame_is_shrunk_and_its_coordinates_are_not(tmp_path: Path) -> None:
    shape = (2100, 4200)
    image, atoms = make_image(shape=shape), make_atoms(50, shape=shape)
    page = report(tmp_path / "r.html", image, atoms)
    assert page.pictures[0].shape == (700, 1400)
    assert "averaged over 3 × 3 pixels" in page.text
    np.testing.assert_allclose(embedded_columns(page)["x_px"], atoms["x_px"], rtol=1e-6)
    picture = models(page.document, "ImageURL")[0]["attributes"]
    assert (picture["w"]["value"], picture["h"]["value"]) == (4200, 2100)


def test_a_long_movie_is_thinned_within_its_budget_and_says_so(tmp_path: Path) -> None:
    image = make_image(90, (256, 320))
    page = report(tmp_path / "r.html", image, make_atoms(10, 90, (256, 320)))
    assert len(page.pictures) == 64
    assert "64 of 90 frames are shown" in page.text
    assert sum(p.nbytes for p in page.pictures) <= 64 * 256 * 320
    assert (tmp_path / "r.html").stat().st_size < 20e6


def test_noise_that_does_not_compress_stays_within_the_budget(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = Image(rng.random((40, 700, 700), dtype=np.float32))
    page = report(tmp_path / "r.html", image, make_atoms(2, 40))
    assert 0.75 * sum(map(len, page.source.split("base64,")[1:])) < MAX_BYTES + 2e6
    assert len(page.pictures) == 40


def test_more_atoms_than_a_browser_bears_are_sampled_and_it_is_said(tmp_path: Path) -> None:
    shape = (2000, 2000)
    atoms = make_atoms(300_000, shape=shape)
    page = report(tmp_path / "r.html", make_image(shape=shape), atoms)
    held = embedded_columns(page)
    assert len(held["x_px"]) == 250_000
    assert held["x_px"].mean() == pytest.approx(atoms["x_px"].mean(), rel=0.01)
    assert "random 83.3 % of the atoms" in page.text
    assert "300,000" in page.text
    assert (tmp_path / "r.html").stat().st_size < 25e6


@given(n_frames=st.integers(1, 5000), at_most=st.integers(1, 64))
def test_picked_frames_are_spread_evenly(n_frames: int, at_most: int) -> None:
    picked = pick_frames(n_frames, at_most)
    assert len(set(picked)) == len(picked) == min(n_frames, at_most)
    assert picked[0] == 0
    assert len(picked) == 1 or picked[-1] == n_frames - 1
    assert np.ptp(np.diff(picked)) <= 1 if len(picked) > 1 else True


# --- any input --------------------------------------------------------------------------------


@pytest.mark.parametrize("n_frames", [1, 3])
def test_no_atoms_no_scale_no_finite_pixel(tmp_path: Path, n_frames: int) -> None:
    shape = SHAPE if n_frames == 1 else (n_frames, *SHAPE)
    page = report(tmp_path / "r.html", Image(np.full(shape, np.nan)), empty())
    assert "No atoms were found" in page.text
    assert "pixel size unknown" in page.text


def test_only_positions_are_enough(tmp_path: Path) -> None:
    bare = empty(rows=1).assign(x_px=3.0, y_px=4.0)
    page = report(tmp_path / "r.html", make_image(), bare)
    assert embedded_columns(page)["x_px"] == 3.0
    assert "nan" not in page.text.lower()


_EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}"


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    image = make_image(2, name=_EVIL, warnings=(_EVIL,))
    atoms = make_atoms(4, 2).assign(species=_EVIL, flags=_EVIL)
    named = make_defects(atoms, name=_EVIL, formula=_EVIL + "2", rule=_EVIL, known=False)
    card = {_EVIL: _EVIL, "list": [{_EVIL: [_EVIL]}], "defects": {"host": _EVIL}}
    page = report(tmp_path / "r.html", image, atoms, card=card, defects=named)
    harmless = report(tmp_path / "h.html", make_image(2), make_atoms(4, 2))
    assert page.text.count(_EVIL) >= 6
    count = {name: [tag for tag, _ in p.tags].count("script") for name, p in
             (("evil", page), ("harmless", harmless))}  # fmt: skip
    assert count["evil"] == count["harmless"]
    assert not [attrs for tag, attrs in page.tags if tag == "img" or "onerror" in attrs]
    assert len(page.document["roots"]) > 1


def test_warnings_and_card_are_shown(tmp_path: Path) -> None:
    image = make_image(warnings=("from the file", "from the run"))
    page = report(
        tmp_path / "r.html",
        image,
        make_atoms(3),
        card={"hash": "abc", "stages": {"detect": 1.5}, "none": None, "warnings": ["from the run"]},
    )
    for text in ("from the file", "from the run", "abc", "detect 1.5"):
        assert text in page.text
    assert page.text.count("from the run") == 2  # on top and in the card
    assert ("details", {"class": "card run"}) in page.tags  # folded away


# --- bonds, rings, defects --------------------------------------------------------------------


def honeycomb(side: int = 160, bond: float = 12.0) -> pd.DataFrame:
    """Graphene without its middle atom, species C, 0.1183 Å per px."""
    steps = np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]]) * np.sqrt(3) * bond
    cells = np.stack(np.meshgrid(*[np.arange(-20, 20)] * 2), axis=-1).reshape(-1, 2)
    sites = [cells @ steps, cells @ steps + np.array([1 / 3, 2 / 3]) @ steps]
    xy = np.concatenate(sites) + (side - 1) / 2
    xy = xy[((xy > 2) & (xy < side - 3)).all(axis=1)]
    xy = np.delete(xy, np.hypot(*(xy - (side - 1) / 2).T).argmin(), axis=0)
    table = {"frame": 0, "atom": range(len(xy)), "x_px": xy[:, 0], "y_px": xy[:, 1], "p": 0.9}
    return conform(pd.DataFrame(table).assign(species="C", x_err_px=0.2, y_err_px=0.2))


def source_with(page: Page, name: str) -> dict[str, Any]:
    """The arrays of the source that has a column."""
    for source in models(page.document, "ColumnDataSource"):
        entries = dict(source["attributes"]["data"]["entries"])
        if name in entries and isinstance(entries[name], dict):
            return {key: unpack(array) for key, array in entries.items()}
    raise AssertionError(f"no column {name} in the page")


_GRAPHENE = {"card": {"defects": {"host": "graphene"}}}


def test_bonds_and_rings_on_the_page_are_those_of_the_graph(tmp_path: Path) -> None:
    atoms, image = honeycomb(), make_image(2, (160, 160), pixel_size=0.1183)
    both = pd.concat([atoms, atoms.assign(frame=1, x_px=atoms["x_px"] + 1)], ignore_index=True)
    page = report(tmp_path / "r.html", image, both, **_GRAPHENE)
    held, bonds = embedded_columns(page), source_with(page, "b")
    xy = np.column_stack([held["x_px"], held["y_px"]])
    for first, pairs in ((0, 0), (len(atoms), 1)):
        number = len(bonds["a"]) // 2
        part = slice(pairs * number, (pairs + 1) * number)
        a, b = xy[first + bonds["a"][part]], xy[first + bonds["b"][part]]
        np.testing.assert_allclose(np.hypot(*(a - b).T), 12.0, atol=1e-3)
    np.testing.assert_array_equal(source_with(page, "size")["size"], [12, 12])  # one atom missing


def test_defects_on_the_page_are_those_of_the_table(tmp_path: Path) -> None:
    atoms = make_atoms(20, 3)
    named = make_defects(atoms, name=["V1", "Si1C3", "new-1"], known=[True, True, False])
    page = report(tmp_path / "r.html", make_image(3), atoms, defects=named.iloc[::-1])
    held = source_with(page, "radius")
    np.testing.assert_allclose(held["x_px"], named["x_px"], rtol=1e-6)
    for frame, rows in atoms[atoms["atom"] < 3].groupby("frame"):
        away = np.hypot(rows["x_px"] - held["x_px"][frame], rows["y_px"] - held["y_px"][frame])
        assert (away < held["radius"][frame]).all()


def test_unnamed_defects_come_first_and_are_counted(tmp_path: Path) -> None:
    atoms = make_atoms(20, 6)
    names = ["V1"] * 3 + ["new-b", "new-a", "new-a"]
    named = make_defects(atoms, name=names, known=[name == "V1" for name in names])
    page = report(tmp_path / "r.html", make_image(6), atoms, defects=named)
    assert "not named by any rule: 2 kinds" in page.text
    finds = [attrs["data-find"] for _, attrs in page.tags if "data-find" in attrs]
    assert finds == ["new-a", "new-b", "V1"]


@pytest.mark.parametrize("pixel_size", [None, 0.1])
def test_densities_are_counts_over_area(pixel_size: float | None) -> None:
    atoms = make_atoms(9, 1)
    image = make_image(pixel_size=pixel_size)
    named = pd.concat([make_defects(atoms)] * 7, ignore_index=True)
    area = SHAPE[0] * SHAPE[1] * (1e-6 if pixel_size is None else (0.1 * pixel_size) ** 2)
    (kind,) = kinds(named, image).named
    low, high = (float(text) for text in kind.interval.split(" to "))
    assert float(kind.density) == pytest.approx(7 / area, rel=0.01)
    expected = np.array(poisson_interval(7)) / area
    np.testing.assert_allclose([low, high], expected, rtol=0.05)


def test_frames_of_a_movie_do_not_narrow_the_interval() -> None:
    one, many = make_atoms(9), make_atoms(9, 30)
    single = kinds(make_defects(one), make_image(pixel_size=0.1)).named[0]
    movie = kinds(make_defects(many), make_image(30, pixel_size=0.1)).named[0]
    assert (movie.density, movie.interval) == (single.density, single.interval)
    assert (single.count, movie.count) == ("1", "30")


def test_defects_without_place_atoms_or_words_are_no_harm(tmp_path: Path) -> None:
    odd = conform(
        pd.DataFrame({"frame": [0, 0, 7], "x_px": [np.nan, 5.0, 3.0], "y_px": 4.0}), DEFECTS
    )
    odd = odd.assign(atoms=["", "99 x -1", "0 1"])
    page = report(tmp_path / "r.html", make_image(), make_atoms(6), defects=odd)
    np.testing.assert_array_equal(source_with(page, "radius")["x_px"], [5.0])
    report(tmp_path / "none.html", make_image(), empty(), defects=odd)


def test_the_gallery_shows_each_kind_with_its_bonds() -> None:
    atoms, image = honeycomb(), make_image(shape=(160, 160), pixel_size=0.1183)
    middle = atoms[["x_px", "y_px"]].sub(79.5).pow(2).sum(axis=1).nsmallest(6).index
    named = conform(
        pd.DataFrame({"frame": [0], "name": ["V1"], "x_px": 79.5, "y_px": 79.5, "p": 0.9}), DEFECTS
    )
    named = named.assign(atoms=" ".join(str(i) for i in middle[:3]), known=True)
    (motif,) = gallery(image, atoms, named, "graphene")
    assert (motif.name, motif.views, motif.bonds) == ("V1", 1, ())  # neighbours of an empty site
    far = named.assign(atoms=" ".join(str(i) for i in middle))
    (motif,) = gallery(image, atoms, far, "graphene")
    assert [float(bond.text.split()[0]) for bond in motif.bonds] == pytest.approx(
        [1.42] * 3, abs=2e-3
    )
    assert motif.lengths[0].startswith("C–C 1.42")


# --- timeline ---------------------------------------------------------------------------------


def life(n_frames: int = 10) -> tuple[pd.DataFrame, ...]:
    """A silicon atom that switches in frames 4 and 7, among carbon, and a vacancy from frame 5."""
    atoms = make_atoms(8, n_frames).assign(species="C", defect=pd.NA)
    atoms.loc[atoms["atom"] == 0, ["species", "defect"]] = ["Si", 0]
    names = ["Si1C4" if 4 <= frame < 7 else "Si1C3" for frame in range(n_frames)]
    defects = make_defects(atoms, name=names)
    tracks = atoms.assign(track=atoms["atom"], kind="atom")
    around = defects.assign(track=8, kind="defect", atom=0, species=defects["name"])
    vacancy = defects[defects["frame"] >= 5].assign(track=9, kind="vacancy", atom=pd.NA, species="")
    tracks = pd.concat([tracks, around, vacancy], ignore_index=True)
    changes = {"from": ["3", "4"], "to": ["4", "3"], "track": [0, 0]}
    events = pd.DataFrame({"event": [0, 1], "frame": [4, 7], "kind": "switch", **changes, "p": 0.9})
    return conform(tracks, TRACKS), conform(events, EVENTS), conform(atoms), defects


def test_a_dopant_has_a_row_whose_states_change_with_its_events() -> None:
    found = runs(states_of(*life()))
    rows = [tuple(row) for row in found[["track", "state", "first", "last"]].to_numpy()]
    silicon = [(0, "Si 3", 0, 3), (0, "Si 4", 4, 6), (0, "Si 3", 7, 9)]
    assert rows == [*silicon, (9, "vacancy", 5, 9)]  # and none for the defect around it


def test_without_events_a_dopant_is_what_its_defect_is_called() -> None:
    tracks, events, atoms, defects = life()
    found = runs(states_of(tracks, events.iloc[:0], atoms, defects))
    assert found["state"].tolist() == ["Si1C3", "Si1C4", "Si1C3", "vacancy"]


def test_runs_cover_every_frame_once(rng: np.random.Generator) -> None:
    frames = np.sort(rng.choice(200, 120, replace=False))
    states = pd.DataFrame({"track": 3, "frame": frames, "state": rng.choice(["a", "b"], 120)})
    found = runs(states.sample(frac=1, random_state=0))
    covered = [(f, r.state) for r in found.itertuples() for f in range(r.first, r.last + 1)]
    assert covered == list(zip(states["frame"], states["state"], strict=True))


def test_the_timeline_is_on_the_page_and_its_events_lead_to_frames(tmp_path: Path) -> None:
    tracks, events, atoms, defects = life()
    evil = events.assign(kind=_EVIL)
    page = report(
        tmp_path / "r.html", make_image(10), atoms, defects=defects, tracks=tracks, events=evil
    )
    assert [attrs["data-frame"] for _, attrs in page.tags if "data-frame" in attrs] == ["4", "7"]
    names = [m["attributes"].get("name") for m in models(page.document, "Figure")]
    assert "timeline" in names
    assert page.text.count(_EVIL) == 2
    still = report(tmp_path / "s.html", make_image(), make_atoms(5), tracks=tracks, events=events)
    assert "timeline" not in [m["attributes"].get("name") for m in models(still.document, "Figure")]


# --- words and charts -------------------------------------------------------------------------


def test_what_is_off_is_marked_and_said(tmp_path: Path) -> None:
    y, x = np.mgrid[2:48:4.0, 2:64:4.0]
    xy = np.column_stack([x.ravel(), y.ravel()])
    table = {"frame": 0, "atom": range(len(xy)), "x_px": xy[:, 0], "y_px": xy[:, 1], "p": 1.0}
    good = conform(pd.DataFrame({**table, "x_err_px": 0.1, "y_err_px": 0.1}))
    bad = pd.concat([good, good.head(40).assign(x_err_px=np.nan, p=0.1)], ignore_index=True)
    rows = {row.name: row for row in quality_rows(quality(bad, SHAPE, 1))}
    assert rows["Duplicates"].value == "40 pairs"
    for name in ("Duplicates", "Refined", "Expected false"):
        assert rows[name].concern
    assert not any(row.concern for row in quality_rows(quality(good, SHAPE, 1)))
    page = report(tmp_path / "r.html", make_image(), bad)
    assert [attrs for tag, attrs in page.tags if tag == "tr"].count({"class": "off"}) >= 3


def test_the_image_is_described_in_its_units() -> None:
    facts = describe_image(make_image(7, pixel_size=0.5, modality="haadf"))
    assert facts == ["7 frames", "64 × 48 px", "0.5 Å per pixel", "32 × 24 Å", "HAADF-STEM"]


@given(share=st.floats(0, 1))
def test_percent_rounds_nothing_to_none_or_all(share: float) -> None:
    text = percent(share)
    assert (text == "0 %") == (share == 0)
    assert (text == "100 %") == (share == 1)
    assert float(text.strip("<> %")) == pytest.approx(100 * share, abs=0.1)


def test_the_curve_of_reliability_shows_the_bins_that_are_known() -> None:
    known = {"stated": [1 / 6, 0.5, 5 / 6], "observed": [0.1, None, 0.9], "counts": [5, 0, 9]}
    source = reliability_chart(known).renderers[-1].data_source
    curve = np.column_stack([source.data["x"], source.data["y"]])
    np.testing.assert_allclose(curve, [[1 / 6, 0.1], [5 / 6, 0.9]])
    assert reliability_chart(None) is None
    assert reliability_chart({"stated": [0.5], "observed": [None], "counts": [0]}) is None


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_script_of_the_page_is_sound(tmp_path: Path) -> None:
    script = tmp_path / "page.js"
    parts = [files("atomscope.report").joinpath(f"{name}.js") for name in ("layers", "page")]
    script.write_text("\n".join(part.read_text(encoding="utf-8") for part in parts))
    subprocess.run(["node", "--check", str(script)], check=True)
