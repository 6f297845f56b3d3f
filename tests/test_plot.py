"""The picture for a slide: right places, right lengths, whatever the frame."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from scipy import ndimage
from scipy.spatial import cKDTree

from atomscope.columns import DEFECTS, conform, empty
from atomscope.plot import (
    Network,
    circles,
    classify_colours,
    grey,
    network,
    overlay,
    scale_bar,
    shrink,
    shrink_factor,
    view_of,
)
from atomscope.plot.network import MOST_ATOMS, _direct, _uncrossed, members, place_names
from atomscope.types import Image


def table(xy: list[tuple[float, float]] | np.ndarray, **columns: object) -> pd.DataFrame:
    xy = np.asarray(xy, dtype=float).reshape(-1, 2)
    base = {"frame": 0, "atom": range(len(xy)), "x_px": xy[:, 0], "y_px": xy[:, 1], "p": 0.95}
    return conform(pd.DataFrame({**base, **columns}))


def picture(path: Path) -> np.ndarray:
    return np.asarray(imageio.imread(path))[..., :3].astype(int)


def coloured(image: np.ndarray) -> np.ndarray:
    """Where the picture is not grey."""
    return np.ptp(image, axis=-1) > 60


# --- the overlay ------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    frame = rng.normal(size=(60, 80))
    atoms = table(rng.uniform(0, 59, (30, 2)))
    first = overlay(frame, atoms, tmp_path / "a.png", pixel_size=0.1, title="a")
    second = overlay(frame, atoms, tmp_path / "b.png", pixel_size=0.1, title="a")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((300, 400), (900, 1200)),  # small frames are enlarged
        ((1500, 1000), (1500, 1000)),
        ((2500, 5000), (1000, 2000)),  # large ones averaged down
        ((1, 1), (1200, 1200)),
    ],
)
def test_the_picture_is_the_frame_and_nothing_around_it(
    tmp_path: Path, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    path = overlay(np.zeros(shape), empty(), tmp_path / "a.png", pixel_size=None)
    assert picture(path).shape[:2] == size


@pytest.mark.parametrize("shape", [(60, 1568), (1568, 60)])
def test_a_narrow_frame_keeps_its_size_and_gets_room_for_words(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    image = picture(overlay(np.ones(shape), empty(), tmp_path / "a.png", pixel_size=0.1))
    assert max(image.shape) == 1568
    assert min(image.shape[:2]) > 150
    assert (image[: shape[0] // 2, : shape[1] // 2] == image[0, 0]).all()


@pytest.mark.parametrize("side", [300, 2500])
def test_a_ring_stands_around_its_atom_with_y_down(tmp_path: Path, side: int) -> None:
    x, y = 0.3 * side, 0.2 * side
    path = overlay(np.zeros((side, side)), table([(x, y)]), tmp_path / "a.png", pixel_size=0.1)
    image = picture(path)
    zoom = len(image) / side
    rows, columns = np.nonzero(coloured(image[: len(image) // 2]))  # the legend is below
    assert (columns.mean() + 0.5) / zoom - 0.5 == pytest.approx(x, abs=1 / zoom)
    assert (rows.mean() + 0.5) / zoom - 0.5 == pytest.approx(y, abs=1 / zoom)
    centre = image[round((y + 0.5) * zoom), round((x + 0.5) * zoom)]
    assert np.ptp(centre) == 0  # open: the column itself stays visible


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_rings_show_on_dark_and_on_bright(tmp_path: Path, level: float) -> None:
    frame = np.full((200, 200), level)
    frame[:, :100] = 1 - level
    atoms = table([(30, 60), (60, 60), (130, 60), (160, 60)])
    image = picture(overlay(frame, atoms, tmp_path / "a.png", pixel_size=None))[:700]
    seen = coloured(image)
    assert seen[:, :600].sum() > 100
    assert seen[:, 600:].sum() > 100


def test_the_drawn_bar_has_the_length_of_its_label(tmp_path: Path) -> None:
    path = overlay(np.zeros((400, 500)), empty(), tmp_path / "a.png", pixel_size=0.1)
    length, label = scale_bar(500, 0.1)
    assert (length, label) == (pytest.approx(100), "1 nm")
    white = (picture(path)[:, :400] > 250).all(axis=-1)
    zoom = 1200 / 500
    assert white.sum(axis=1).max() == pytest.approx(length * zoom, abs=2)


@pytest.mark.parametrize("title", ["$x_{1}", "试样 7", r"\frac a % & <b>", "a\nb", "x" * 500])
def test_any_title_can_be_drawn(tmp_path: Path, title: str) -> None:
    overlay(np.zeros((30, 30)), empty(), tmp_path / "a.png", pixel_size=0.1, title=title)


@settings(max_examples=8, deadline=None)
@given(
    frame=stn.arrays(
        np.float32,
        stn.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.floats(width=32),
    )
)
def test_any_frame_can_be_drawn(
    frame: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.png"
    overlay(frame, table([(0, 0), (0, 0)]), path, pixel_size=1e-4)
    assert max(picture(path).shape) >= 1200


def test_dense_atoms_leave_the_image_visible(tmp_path: Path) -> None:
    y, x = np.mgrid[0:1200:3, 0:1200:3]
    atoms = table(np.column_stack([x.ravel(), y.ravel()]))
    image = picture(overlay(np.zeros((1200, 1200)), atoms, tmp_path / "a.png", pixel_size=0.1))
    assert 0.02 < coloured(image).mean() < 0.5


def test_nothing_global_is_touched(tmp_path: Path) -> None:
    code = (
        "import sys, matplotlib, numpy as np\n"
        "from atomscope.plot import overlay; from atomscope.columns import empty\n"
        "def settings():\n"  # asking for the backend would load pyplot
        "    return {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}\n"
        "before = settings()\n"
        f"overlay(np.zeros((9, 9)), empty(), {str(tmp_path / 'a.png')!r}, pixel_size=None)\n"
        "assert settings() == before\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- bonds, rings, defects --------------------------------------------------------------------

BOND = 20.0


def honeycomb(missing: int = 0, turn: float = 0.3) -> pd.DataFrame:
    """A turned sheet of graphene of 400 × 400 px, without the atoms nearest to its middle."""
    steps = np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]]) * np.sqrt(3) * BOND
    cells = np.stack(np.meshgrid(*[np.arange(-20, 20)] * 2), axis=-1).reshape(-1, 2)
    xy = np.concatenate([cells @ steps, cells @ steps + np.array([1 / 3, 2 / 3]) @ steps])
    wheel = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    xy = xy @ wheel + 200
    xy = xy[((xy > 5) & (xy < 395)).all(axis=1)]
    order = np.argsort(np.hypot(*(xy - 200).T))
    return table(np.delete(xy, order[:missing], axis=0), species="C")


def net_of(atoms: pd.DataFrame) -> Network:
    return network(atoms, host="graphene", shape=(400, 400), pixel_size=1.42 / BOND)


def defect(atoms: pd.DataFrame, **columns: object) -> pd.DataFrame:
    """One defect in the middle, made of the atoms around it."""
    near = atoms[np.hypot(atoms["x_px"] - 200, atoms["y_px"] - 200) < 1.2 * BOND]
    numbers = " ".join(str(n) for n in near["atom"])
    base = {"name": "V1", "x_px": 200.0, "y_px": 200.0, "atoms": numbers, "known": True}
    return conform(pd.DataFrame({"frame": [0], **base, **columns}), DEFECTS)


def test_bonds_join_first_neighbours_and_only_odd_rings_are_kept() -> None:
    atoms = honeycomb()
    whole = net_of(atoms)
    xy = atoms[["x_px", "y_px"]].to_numpy()
    np.testing.assert_allclose(np.hypot(*(xy[whole.bonds[:, 0]] - xy[whole.bonds[:, 1]]).T), BOND)
    inner = ((xy > 5 + BOND) & (xy < 395 - BOND)).all(axis=1)
    assert (np.bincount(whole.bonds.ravel(), minlength=len(xy))[inner] == 3).all()
    assert whole.rings == ()
    (hole,) = net_of(honeycomb(missing=1)).rings
    assert len(hole) == 12  # three hexagons that shared the atom
    assert (
        np.hypot(*(honeycomb(missing=1)[["x_px", "y_px"]].to_numpy()[list(hole)] - 200).T)
        < 2.7 * BOND
    ).all()


def test_the_network_does_not_depend_on_order_and_units() -> None:
    atoms = honeycomb(missing=1)
    shuffled = atoms.sample(frac=1, random_state=4).reset_index(drop=True)

    def sets(rows: pd.DataFrame, net: Network) -> tuple[set[frozenset[int]], ...]:
        number = rows["atom"].to_numpy()
        rings = [number[list(ring)].tolist() for ring in net.rings]
        return {frozenset(pair) for pair in number[net.bonds].tolist()}, set(map(frozenset, rings))

    expected = sets(atoms, net_of(atoms))
    assert sets(shuffled, net_of(shuffled)) == expected
    assert sets(atoms, network(atoms.assign(species=""))) == expected


@pytest.mark.parametrize(
    "atoms",
    [empty(), table([(3, 3)]), table([(3, 3)] * 5), table([(np.nan, 1), (2, 2), (np.inf, 0)])],
)
def test_a_network_of_nothing_is_empty(atoms: pd.DataFrame) -> None:
    assert network(atoms, host="graphene", shape=(9, 9), pixel_size=0.1).bonds.shape == (0, 2)


def test_atoms_strewn_over_a_support_have_no_bonds(rng: np.random.Generator) -> None:
    strewn = table(rng.uniform(0, 400, (80, 2)))
    assert len(network(strewn, shape=(400, 400)).bonds) == 0
    known = strewn.assign(species="Pt")
    assert len(network(known, shape=(400, 400), pixel_size=0.1).bonds) > 0


def test_words_that_are_no_elements_and_unknown_rules_are_no_harm() -> None:
    atoms = honeycomb(missing=1)
    for species, host in (("hollow", "graphene"), ("hollow", None), ("C", "../own.yaml")):
        found = network(atoms.assign(species=species), host=host, pixel_size=1.42 / BOND)
        np.testing.assert_array_equal(found.bonds, net_of(atoms).bonds)


def test_frames_with_very_many_atoms_have_no_bonds(rng: np.random.Generator) -> None:
    assert len(network(table(rng.uniform(0, 9999, (MOST_ATOMS + 1, 2)))).bonds) == 0


def test_a_circle_holds_the_atoms_of_its_defect_and_no_second_shell() -> None:
    atoms = honeycomb(missing=1)
    ((x, y, radius),) = circles(defect(atoms), atoms)
    assert (x, y) == (200, 200)
    assert BOND < radius < np.sqrt(3) * BOND
    ((_, _, lone),) = circles(defect(atoms).assign(atoms=""), atoms)
    assert 0 < lone < BOND
    assert members("3 x -1 77 4", {3: 0, 4: 1}) == [0, 1]


def test_bonds_rings_and_circles_are_drawn_where_they_are(tmp_path: Path) -> None:
    atoms = honeycomb(missing=1)
    frame = np.zeros((400, 400))
    about = {"pixel_size": 0.071, "net": net_of(atoms), "defects": defect(atoms, name="")}
    plain = picture(overlay(frame, atoms, tmp_path / "a.png", pixel_size=0.071))
    drawn = picture(overlay(frame, atoms, tmp_path / "b.png", **about))
    changed = np.abs(drawn - plain).max(axis=-1) > 20
    zoom = len(drawn) / 400

    def at(x: float, y: float) -> bool:
        return bool(changed[round((y + 0.5) * zoom), round((x + 0.5) * zoom)])

    xy = atoms[["x_px", "y_px"]].to_numpy()
    middles = xy[about["net"].bonds].mean(axis=1)
    assert np.mean([at(*middle) for middle in middles]) > 0.95  # but for those under the legend
    assert at(205, 205)  # inside the ring of 12
    ((_, _, radius),) = circles(about["defects"], atoms)
    angles = np.linspace(0, 2 * np.pi, 90)
    around = [at(200 + radius * np.cos(a), 200 + radius * np.sin(a)) for a in angles]
    assert np.mean(around) > 0.95
    inner = [p for p in xy if np.hypot(*(p - 200)) > 2.5 * BOND and (np.abs(p - 200) < 120).all()]
    assert not any(at(*p) for p in inner)  # the columns themselves stay visible


@pytest.mark.parametrize("name", ["$x_{1}", "试样", "new-12ab34cd", "x" * 300])
def test_any_name_of_a_defect_can_be_drawn(tmp_path: Path, name: str) -> None:
    atoms = honeycomb(missing=1)
    many = pd.concat([defect(atoms, name=name, known=False)] * 3, ignore_index=True)
    overlay(np.zeros((400, 400)), atoms, tmp_path / "a.png", pixel_size=None, defects=many)


def test_only_a_handful_of_defects_without_a_name_have_words(tmp_path: Path) -> None:
    """Of many, as in a disordered film, every circle stays; the frame shows between them."""
    atoms = honeycomb()

    def ink(count: int, known: bool, name: str) -> int:
        places = [(50 + 60 * (i % 5), 60 + 80 * (i // 5)) for i in range(count)]
        rows = pd.concat([defect(atoms, name=name, known=known)] * count, ignore_index=True)
        rows["x_px"], rows["y_px"] = np.array(places, dtype=float).T
        rows["atoms"] = ""
        about = {"pixel_size": None, "defects": rows}
        image = picture(overlay(np.zeros((400, 400)), atoms[:0], tmp_path / "a.png", **about))
        bright = ndimage.maximum_filter(image[:900].max(axis=-1), 3)  # above the legend
        ((_, _, radius), *_) = circles(rows, atoms[:0])
        angles = np.linspace(0, 2 * np.pi, 90)
        away = radius * np.column_stack([np.cos(angles), np.sin(angles)])
        on = np.rint((np.array(places)[:, None] + away + 0.5) * 3).astype(int).reshape(-1, 2)
        assert (bright[on[:, 1], on[:, 0]] > 60).mean() > 0.95
        return int((bright > 60).sum())

    few, many = ink(5, False, "new-12ab34cd"), ink(15, False, "new-12ab34cd")
    assert many / 15 < few / 5 / 2  # thinner circles, and no words
    assert ink(15, True, "new-12ab34cd") / 15 > 0.9 * few / 5  # what a rule names keeps its words


@given(places=stn.arrays(np.float64, (12, 2), elements=st.floats(0, 300)))
def test_names_never_cover_each_other(places: np.ndarray) -> None:
    around = np.column_stack([places, np.full(len(places), 15.0)])
    names, unit = ["V2(5-8-5)"] * len(places), 4.0
    corners = place_names(names, around, unit)
    assert corners[0] is not None
    boxes = [(x, y, x + 1.25 * unit * 9, y - 2.4 * unit) for x, y in filter(None, corners)]
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[3] >= b[1] or b[3] >= a[1]


# --- its parts --------------------------------------------------------------------------------


@given(width=st.integers(20, 20_000), pixel_size=st.floats(1e-3, 100))
def test_a_scale_bar_is_round_true_and_fits(width: int, pixel_size: float) -> None:
    length, label = scale_bar(width, pixel_size)
    number, unit = label.split()
    angstrom = {"pm": 0.01, "Å": 1.0, "nm": 10.0, "µm": 1e4}[unit]
    assert float(number) * angstrom == pytest.approx(length * pixel_size)
    assert f"{float(number):e}"[0] in "125"
    assert 0.08 * width < length < 0.23 * width


def test_a_scale_bar_without_a_pixel_size_is_in_pixels() -> None:
    assert scale_bar(1000, None) == (200, "200 px")


@given(
    frame=stn.arrays(
        np.float64,
        stn.array_shapes(min_dims=2, max_dims=2, max_side=20),
        elements=st.floats(-1e6, 1e6),
    ),
    factor=st.integers(1, 7),
)
def test_shrinking_averages_blocks(frame: np.ndarray, factor: int) -> None:
    small = shrink(frame, factor)
    for row in range(small.shape[0]):
        for column in range(small.shape[1]):
            block = frame[
                row * factor : (row + 1) * factor, column * factor : (column + 1) * factor
            ]
            assert small[row, column] == pytest.approx(block.mean(), rel=1e-9, abs=1e-6)
    assert max(shrink(frame, shrink_factor(frame.shape, 5)).shape) <= 5


def test_shrinking_leaves_out_what_is_unknown() -> None:
    frame = np.array([[1.0, np.nan, np.nan, np.nan], [3.0, np.inf, np.nan, np.nan]])
    np.testing.assert_array_equal(shrink(frame, 2), [[2.0, np.nan]])


@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3))
def test_grey_does_not_depend_on_gain_and_offset(gain: float, offset: float) -> None:
    frame = np.random.default_rng(3).gamma(3.0, size=(30, 40))
    difference = grey(gain * frame + offset).astype(int) - grey(frame).astype(int)
    assert np.abs(difference).max() <= 1


def test_grey_uses_its_range_and_keeps_the_order(rng: np.random.Generator) -> None:
    frame = rng.normal(size=(100, 100))
    frame[0, 0], frame[0, 1] = 1e6, np.nan  # a hot pixel must not darken the rest
    stretched = grey(frame)
    assert stretched[0, 0] == 255
    assert stretched[0, 1] == 0
    assert stretched.std() > 30
    order = np.argsort(frame, axis=None)[:-2]
    assert (np.diff(stretched.ravel()[order].astype(int)) >= 0).all()


def test_lines_of_a_topograph_are_shown_at_one_height(rng: np.random.Generator) -> None:
    atoms = rng.normal(size=(20, 30))
    tilted = atoms + 50 * np.arange(20)[:, None] + rng.normal(size=(20, 1))
    tilted[3, 4], tilted[7] = np.nan, np.nan
    seen = view_of(Image(tilted, modality="stm"), 0)
    assert np.ptp(np.nanmedian(np.delete(seen, 7, axis=0), axis=1)) < 1e-9
    np.testing.assert_allclose(np.diff(seen[0]), np.diff(tilted[0]))
    np.testing.assert_array_equal(view_of(Image(tilted, modality="haadf"), 0), tilted)


def test_colours_follow_what_was_taught_else_species_else_probability() -> None:
    xy = [(0, 0), (1, 1), (2, 2)]
    by_species = classify_colours(table(xy, species=["Si", "", "C"]))
    assert [by_species.labels[i] for i in by_species.index] == ["Si", "unknown", "C"]
    by_p = classify_colours(table(xy, p=[0.95, 0.7, 0.2]))
    assert [by_p.labels[i] for i in by_p.index] == ["p ≥ 0.9", "p 0.5–0.9", "p < 0.5"]
    assert classify_colours(table(xy, p=np.nan)).labels == ("atoms",)
    by_taught = classify_colours(table(xy, species="C", structure=["line", "", "alone"]))
    assert [by_taught.labels[i] for i in by_taught.index] == [
        "line",
        "none, or at the rim",
        "alone",
    ]
    nothing = classify_colours(table(xy, species="C", structure=""))
    assert nothing.labels == ("C", "unknown")
    for classes in (by_taught, by_species, by_p):
        assert len(set(classes.colours)) == len(classes.colours) == len(classes.labels)


# --- order and room ---------------------------------------------------------------------------


def test_words_lie_above_the_atoms(tmp_path: Path) -> None:
    atoms = table([(x, 390.5) for x in range(5, 400, 10)])  # on the bar
    image = picture(overlay(np.zeros((400, 400)), atoms, tmp_path / "a.png", pixel_size=0.1))
    length, _ = scale_bar(400, 0.1)
    zoom = len(image) / 400
    white = (image[:, : len(image) // 2] > 250).all(axis=-1)
    assert white.sum(axis=1).max() == pytest.approx(length * zoom, abs=2)  # no ring cuts it


@pytest.mark.parametrize("shape", [(1568, 192), (192, 1568)])
def test_a_strip_that_holds_its_words_gets_no_margin(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    y, x = np.mgrid[40 : shape[0] : 80, 40 : shape[1] : 80]
    atoms = table(np.column_stack([x.ravel(), y.ravel()]))
    image = picture(overlay(np.zeros(shape), atoms, tmp_path / "a.png", pixel_size=None))
    assert image.shape[:2] == shape
    white = (image[-60:] > 250).all(axis=-1)
    assert white.sum(axis=1).max() > 80  # px: a bar that can be read


def test_bonds_end_at_the_rings_at_any_zoom(tmp_path: Path) -> None:
    atoms = table([(10, 20), (30, 20)])
    net = Network(np.array([[0, 1]]))
    frame = np.zeros((40, 40))
    plain = picture(overlay(frame, atoms, tmp_path / "a.png", pixel_size=None))
    image = picture(overlay(frame, atoms, tmp_path / "b.png", pixel_size=None, net=net))
    columns = np.nonzero((np.abs(image - plain).max(axis=-1) > 20).any(axis=0))[0]
    ends = (np.array([10, 30]) + 0.5) * len(image) / 40
    assert 10 < columns.min() - ends[0] < 25  # px: outside the ring, and near it
    assert 10 < ends[1] - columns.max() < 25


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_squares_have_no_diagonals(turn: float) -> None:
    y, x = np.mgrid[-40:41:20, -40:41:20]
    wheel = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    xy = np.column_stack([x.ravel(), y.ravel()]) @ wheel
    pairs = cKDTree(xy).query_pairs(30, output_type="ndarray")
    assert len(pairs) == 40 + 32  # edges and diagonals
    for kept in (_uncrossed(pairs, xy), _direct(pairs, xy)):
        np.testing.assert_allclose(np.hypot(*(xy[kept[:, 0]] - xy[kept[:, 1]]).T), 20)
        assert len(kept) == 40


def test_of_two_bonds_that_cross_the_shorter_is_kept() -> None:
    xy = np.array([[0.0, 0], [20, 0], [10, -6], [10, 6]])
    assert _uncrossed(np.array([[0, 1], [2, 3]]), xy).tolist() == [[2, 3]]
    xy[2:, 1] = [-10, 10]
    assert len(_uncrossed(np.array([[0, 1], [2, 3]]), xy)) == 0
