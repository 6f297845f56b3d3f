"""Tracking: laws that hold for any movie, known truth, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array

import atomscope
from atomscope.apps.cli import run
from atomscope.columns import EVENTS, TRACKS
from atomscope.errors import UsageError
from atomscope.intervals import poisson_interval
from atomscope.simulate.movies import Movie, Setting, movie
from atomscope.species import fit_lattices
from atomscope.track import Tracker, Tracking, find_events, finish, summary, track
from atomscope.track.assign import one_to_one
from atomscope.track.dopants import Path as Dopant
from atomscope.track.hmm import smooth
from atomscope.track.log import Log
from atomscope.track.readings import Readings
from atomscope.track.trades import GONE, JUMP
from atomscope.track.ways import Habit, Way, follow
from atomscope.track.weave import _trade

MISSES = (0.05, 0.1, 0.2)
SMALL = Setting(frames=40, size=84, rate=0.08)
EASY = Setting(frames=25, size=84, miss=0.0, false=0.0, misread=0.0, jitter=0.02, drift=0.2)

Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def hopping() -> tuple[Movie, Tracking]:
    made = movie("hop", 3, SMALL)
    return made, track(made.atoms, shape=made.shape)


def partition(table: pd.DataFrame) -> set[frozenset[tuple[int, int]]]:
    """Tracks as sets of (frame, atom): what does not depend on their numbers."""
    known = table[table["track"].notna()]
    return {
        frozenset(zip(rows["frame"], rows["atom"], strict=True))
        for _, rows in known.groupby("track")
    }


def moved(atoms: pd.DataFrame, matrix: Floats, shift: Floats) -> pd.DataFrame:
    xy = atoms[["x_px", "y_px"]].to_numpy() @ matrix + shift
    return atoms.assign(x_px=xy[:, 0], y_px=xy[:, 1])


def switches(made: Movie, tracking: Tracking) -> int:
    """How often a track goes over to another true atom."""
    table = tracking.atoms.assign(identity=made.identity)
    table = table[table["track"].notna() & (table["identity"] >= 0)].sort_values("frame")
    return sum(int((np.diff(rows["identity"]) != 0).sum()) for _, rows in table.groupby("track"))


def test_tables_have_the_declared_columns(hopping: tuple[Movie, Tracking]) -> None:
    _, tracking = hopping
    events = find_events(tracking)
    assert [c.name for c in TRACKS] == list(tracking.tracks.columns)
    assert [c.name for c in EVENTS] == list(events.columns)
    assert list(tracking.tracks.columns[:5]) == ["track", "frame", "atom", "x_px", "y_px"]
    first = ["event", "frame", "kind", "track", "from", "to", "p"]  # as other programs read them
    assert list(events.columns[: len(first)]) == first
    assert set(tracking.tracks["kind"]) <= {"atom", "vacancy", "defect"}


def test_as_many_tracks_as_atoms_and_none_goes_over_to_another(
    hopping: tuple[Movie, Tracking],
) -> None:
    made, tracking = hopping
    seen = made.truth[made.truth["found"]].groupby("identity").size()
    assert (tracking.lives["kind"] == "atom").sum() == (seen >= 3).sum()
    assert switches(made, tracking) == 0


def test_no_two_tracks_on_one_atom_and_no_two_atoms_of_a_frame_in_one_track(
    hopping: tuple[Movie, Tracking],
) -> None:
    rows = hopping[1].tracks
    atoms = rows[(rows["kind"] == "atom") & rows["atom"].notna()]
    assert not atoms.duplicated(["frame", "atom"]).any()
    assert not rows.duplicated(["track", "frame"]).any()


def test_drift_is_found(hopping: tuple[Movie, Tracking]) -> None:
    made, tracking = hopping
    assert np.abs(tracking.drift - made.drift).max() < 0.1 * SMALL.spacing


def test_hops_of_the_dopant_are_the_events(hopping: tuple[Movie, Tracking]) -> None:
    made, tracking = hopping
    events = find_events(tracking)
    hops = events[events["kind"] == "hop"]
    assert len(hops) == len(made.events) > 0
    assert np.abs(hops["frame"].to_numpy() - made.events["frame"].to_numpy()).max() <= 2
    assert hops["track"].nunique() == 1
    assert (hops["from"] != hops["to"]).all()
    path = [hops["from"].iloc[0], *hops["to"]]
    assert list(hops["from"]) == path[:-1]  # each starts where the one before ended
    assert (events["kind"] == "creation").sum() == 0


def test_the_order_of_rows_does_not_matter(hopping: tuple[Movie, Tracking]) -> None:
    made, tracking = hopping
    other = made.permuted(np.random.default_rng(5))
    assert partition(track(other.atoms, shape=made.shape).atoms) == partition(tracking.atoms)


@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_rotation_mirror_and_unit_do_not_matter(
    hopping: tuple[Movie, Tracking], mirror: float
) -> None:
    made, _ = hopping
    c, s = np.cos(0.7), np.sin(0.7)
    turn = 3.0 * np.array([[c, s], [-s, c]]) @ np.diag([1.0, mirror])
    # without a shape the frame is that of the atoms, which turns into another one
    inside = (made.atoms[["x_px", "y_px"]].to_numpy() > 12).all(axis=1)
    inside &= (made.atoms[["x_px", "y_px"]].to_numpy() < 72).all(axis=1)
    middle = made.atoms[inside]
    shape = (100_000, 100_000)
    away = np.array([50_000.0, 50_000.0])
    plain = track(moved(middle, np.eye(2), away), shape=shape)
    turned = track(moved(middle, turn, away), shape=shape)
    assert partition(turned.atoms) == partition(plain.atoms)
    assert list(find_events(turned)["kind"]) == list(find_events(plain)["kind"])


def test_further_drift_does_not_matter(hopping: tuple[Movie, Tracking]) -> None:
    made, tracking = hopping
    slide = np.array([0.9, -0.6])  # px per frame
    xy = made.atoms[["x_px", "y_px"]] + made.atoms[["frame"]].to_numpy() * slide
    table = made.atoms.assign(x_px=xy["x_px"], y_px=xy["y_px"])
    sliding = track(table)
    still = track(made.atoms)
    assert partition(sliding.atoms) == partition(still.atoms)
    last = SMALL.frames - 1
    off = sliding.drift[last] - still.drift[last] - last * slide
    assert np.abs(off).max() < 0.02 * SMALL.spacing
    assert len(tracking.frames) == SMALL.frames


def test_a_jump_by_a_lattice_vector_shows_where_features_do() -> None:
    made = movie("still", 4, Setting(frames=12, size=110, drift=0.1, misread=0.0))
    table = made.atoms.copy()
    rng = np.random.default_rng(0)
    marked = rng.choice(np.unique(made.identity[made.identity >= 0]), 7, replace=False)
    table["species"] = np.where(np.isin(made.identity, marked), "N", table["species"])
    first = track(table, shape=made.shape)
    assert first.lattice is not None
    jump = first.lattice.vectors[0]
    late = table["frame"].to_numpy() >= 6
    xy = table[["x_px", "y_px"]].to_numpy() + late[:, None] * jump
    tracking = track(table.assign(x_px=xy[:, 0], y_px=xy[:, 1]))
    step = tracking.drift[6] - tracking.drift[5]
    assert np.linalg.norm(step - jump) < 0.15 * 12


def test_trackpy_agrees_on_easy_data() -> None:
    trackpy = pytest.importorskip("trackpy")
    made = movie("still", 2, EASY)
    inner = (made.atoms[["x_px", "y_px"]] > 14).all(axis=1)
    inner &= (made.atoms[["x_px", "y_px"]] < 70).all(axis=1)
    table = made.atoms[inner].reset_index(drop=True)
    trackpy.quiet()
    witness = trackpy.link(table, 4.0, pos_columns=["x_px", "y_px"], memory=2)
    kept = witness.groupby("particle")["frame"].transform("size") >= EASY.frames
    theirs = partition(witness.assign(track=witness["particle"].where(kept)))
    ours = partition(track(table).atoms)
    assert len(theirs) > 10
    assert theirs <= ours


def test_streaming_gives_the_same_as_the_whole_table(hopping: tuple[Movie, Tracking]) -> None:
    made, tracking = hopping
    tracker = Tracker(shape=made.shape)
    for _, rows in made.atoms.groupby("frame"):
        tracker.add(rows)
    pd.testing.assert_frame_equal(finish(tracker, made.atoms).tracks, tracking.tracks)


def test_switches_are_told_from_misreadings() -> None:
    made = movie("switch", 7, Setting(frames=120, size=60, rate=0.04, misread=0.05))
    tracking = track(made.atoms, shape=made.shape)
    events = find_events(tracking, times=list(np.arange(120) * 0.5), dose_per_frame=10.0)
    found = events[events["kind"] == "switch"]
    true = made.events
    assert len(found) == len(true) > 2
    assert list(found["to"]) == list(true["to"])
    assert np.allclose(found["time"], 0.5 * found["frame"])
    numbers = summary(events, tracking, times=list(np.arange(120) * 0.5), dose_per_frame=10.0)
    row = numbers.rates[numbers.rates["kind"] == "switch"].iloc[0]
    assert row["low"] < 0.04 < row["high"]
    assert row["rate_s"] == pytest.approx(2 * row["rate"])
    assert row["rate_dose"] == pytest.approx(row["rate"] / 10)
    assert numbers.dwells["frames"].sum() == pytest.approx(120, abs=3)


def test_a_turning_trimer_is_followed() -> None:
    made = movie("trimer", 2, Setting(frames=50, size=84, rate=0.08))
    tracking = track(made.atoms, shape=made.shape)
    turns = find_events(tracking).query("kind == 'rotation'")
    assert len(turns) == len(made.events) > 0
    angle = turns["to"].astype(float).to_numpy() - turns["from"].astype(float).to_numpy()
    assert np.allclose(angle, made.events["to"].astype(float), atol=8)
    assert switches(made, tracking) == 0


def test_a_line_of_vacancies_grows() -> None:
    made = movie("line", 5, Setting(frames=60, size=84, rate=0.08))
    tracking = track(made.atoms, shape=made.shape)
    events = find_events(tracking)
    created = events[events["kind"] == "creation"]
    true = made.events[made.events["frame"] < 55]
    assert abs(len(created) - len(true)) <= len(made.events) - len(true)
    assert (events["kind"] == "growth").sum() == len(created) - 1
    atoms = tracking.lives[tracking.lives["kind"] == "atom"]
    assert (atoms["death"] == "knock-on").sum() == len(created)


def test_a_vacancy_that_moves_is_one_vacancy() -> None:
    made = movie("still", 6, Setting(frames=45, size=84, drift=0.1, miss=0.05, misread=0.0))
    middle = made.truth[made.truth["frame"] == 0].set_index("identity")[["x_px", "y_px"]]
    order = np.hypot(*(middle - 42).to_numpy().T).argsort()
    hole = int(middle.index[order[0]])
    near = np.hypot(*(middle - middle.loc[hole]).to_numpy().T).argsort()
    other = int(middle.index[near[1]])
    table, frame = made.atoms.copy(), made.atoms["frame"].to_numpy()
    goes = (made.identity == other) & (frame >= 30)
    step = (middle.loc[hole] - middle.loc[other]).to_numpy()
    table.loc[goes, ["x_px", "y_px"]] += step
    table = table[~((made.identity == hole) & (frame >= 15))]
    tracking = track(table, shape=made.shape)
    events = find_events(tracking)
    assert list(events["kind"]) == ["creation", "migration"]
    assert abs(events["frame"] - [15, 30]).max() <= 2
    assert (tracking.lives["kind"] == "vacancy").sum() == 1


def test_a_vacancy_heals_and_the_host_around_it_comes_and_goes_at_borders() -> None:
    made = movie("still", 6, Setting(frames=45, size=84, drift=0.3, miss=0.05, misread=0.0))
    middle = made.truth[made.truth["frame"] == 0].set_index("identity")[["x_px", "y_px"]]
    hole = int(middle.index[np.hypot(*(middle - 42).to_numpy().T).argmin()])
    gone = (made.identity == hole) & made.atoms["frame"].between(15, 29).to_numpy()
    tracking = track(made.atoms[~gone], shape=made.shape)
    events = find_events(tracking)
    assert list(events["kind"]) == ["creation", "healing"]
    assert abs(events["frame"] - [15, 30]).max() <= 2
    atoms = tracking.lives[tracking.lives["kind"] == "atom"]
    assert (atoms["death"] == "knock-on").sum() == 1
    assert (atoms["birth"] == "inside").sum() == 1  # the atom that healed it
    assert set(atoms["death"]) <= {"end", "border", "knock-on"}


def test_sites_are_numbered_as_in_the_lattice_given() -> None:
    made = movie("still", 9, Setting(frames=10, size=110, misread=0.0, miss=0.05, false=0.0))
    lattices = fit_lattices(made.atoms)
    first = lattices[0]
    assert first is not None
    moved_cells = replace(first, cell=first.cell + np.array([7, -3]))
    rows = track(made.atoms, shape=made.shape, lattices={0: moved_cells}).tracks
    rows = rows[(rows["frame"] == 0) & rows["atom"].notna() & (rows["site"] != "")]
    atom = rows["atom"].to_numpy(np.int64)
    member = first.member[atom]
    theirs = np.column_stack([moved_cells.cell, moved_cells.sublattice])[atom][member]
    ours = np.array([[int(n) for n in text.split()] for text in rows["site"]])[member]
    assert len(ours) > 50
    assert np.array_equal(ours, theirs)


def test_a_border_between_phases_moves() -> None:
    made = movie("still", 9, Setting(frames=30, size=84, misread=0.0))
    border = np.where(made.atoms["frame"] < 12, 30.0, 55.0) + made.drift[made.atoms["frame"], 0]
    phase = np.where(made.atoms["x_px"] < border, "1T", "1H")
    tracking = track(made.atoms.assign(structure=phase), shape=made.shape)
    moves = find_events(tracking).query("kind == 'border'")
    largest = moves.loc[moves["to"].str.split().str[1].astype(int).idxmax()]
    assert abs(largest["frame"] - 12) <= 1
    assert (largest["from"].split()[0], largest["to"].split()[0]) == ("1H", "1T")


def test_defects_keep_their_number() -> None:
    made = movie("still", 8, EASY)
    drift = made.drift
    rows = [
        {"frame": f, "defect": d, "name": name, "x_px": x + drift[f, 0], "y_px": y + drift[f, 1]}
        for f in range(EASY.frames)
        if f % 5 != 3  # missed now and then
        for d, (name, x, y) in enumerate([("Si1C3", 30.0, 30.0), ("55-77", 55.0, 50.0)])
    ]
    tracking = track(made.atoms, defects=pd.DataFrame(rows), shape=made.shape)
    defects = tracking.tracks[tracking.tracks["kind"] == "defect"]
    assert defects["track"].nunique() == 2
    elsewhere = pd.DataFrame(rows).assign(frame=1000)
    nothing = track(made.atoms, defects=elsewhere, shape=made.shape)
    assert set(nothing.tracks["kind"]) == {"atom"}
    assert (defects.groupby("track")["species"].nunique() == 1).all()


def test_assignment_is_the_cheapest(rng: np.random.Generator) -> None:
    for _ in range(20):
        cost = rng.uniform(0, 1, (5, 7))
        i, j = (a.ravel() for a in np.indices(cost.shape))
        pairs = one_to_one(i, j, cost.ravel(), 2.0)
        best = cost[linear_sum_assignment(cost)].sum()
        assert cost.ravel()[pairs].sum() == pytest.approx(best)


def test_chain_finds_its_rates_and_errors(rng: np.random.Generator) -> None:
    state = np.cumsum(rng.random(3000) < 0.02) % 2
    wrong = rng.random(3000) < 0.05
    chain = smooth(np.where(wrong, 1 - state, state), np.full(3000, 0.1), 2)
    assert (chain.state == state).mean() > 0.98
    assert chain.error == pytest.approx(0.05, abs=0.015)
    true = int((np.diff(state) != 0).sum())
    assert chain.changes[0, 1] + chain.changes[1, 0] == pytest.approx(true, rel=0.2)
    misread = smooth(wrong.astype(np.int64), np.full(3000, 0.05), 2)
    assert (misread.state == 0).all()


def test_interval_of_a_count_holds_it_as_often_as_stated(rng: np.random.Generator) -> None:
    counts = rng.poisson(3.0, 2000)
    low, high = np.array([poisson_interval(float(n)) for n in counts]).T
    assert ((low <= 3.0) & (high >= 3.0)).mean() >= 0.95
    assert poisson_interval(0)[0] == 0


def frame_of(xy: list[tuple[float, float]], frame: int) -> pd.DataFrame:
    return pd.DataFrame(xy, columns=["x_px", "y_px"]).assign(frame=frame)


def test_few_atoms_and_empty_frames() -> None:
    empty = frame_of([], 0)
    nothing = track(empty)
    assert len(nothing.tracks) == 0
    assert len(find_events(nothing)) == 0
    one = pd.concat([frame_of([(5.0, 5.0 + 0.1 * f)], f) for f in (0, 1, 4)])
    assert len(track(one).lives) == 1
    same = pd.concat([frame_of([(5.0, 5.0)] * 4, f) for f in range(3)])
    assert len(find_events(track(same))) == 0
    hole = pd.concat([frame_of([(5.0, 5.0), (np.nan, 3.0), (15.0, 5.0)], f) for f in range(4)])
    tracking = track(hole)
    assert len(tracking.lives) == 2
    assert tracking.atoms["track"].isna().sum() == 4
    unnamed = track(hole.assign(species=np.nan, structure=np.nan))
    assert partition(unnamed.atoms.assign(atom=0)) == partition(tracking.atoms.assign(atom=0))


def test_a_frame_twice_and_a_frame_of_another_size() -> None:
    made = movie("still", 3, EASY)
    again = made.atoms[made.atoms["frame"] == 24].assign(frame=25)
    zoomed = moved(again, 1.5 * np.eye(2), np.zeros(2)).assign(frame=26)
    table = pd.concat([made.atoms, again, zoomed], ignore_index=True)
    tracking = track(table)
    known = tracking.atoms[tracking.atoms["frame"] >= 24].pivot_table(
        index="atom", columns="frame", values="track"
    )
    assert (known[24] == known[25]).all()
    assert (known[25] == known[26]).mean() > 0.95


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pd.DataFrame({"frame": [0]}), "no column x_px"),
        (pd.DataFrame({"x_px": [0.0], "y_px": [0.0]}), "no column frame"),
        (frame_of([(1.0, 1.0), (5.0, 5.0)], 0).assign(atom=3), "atom 3 twice"),
        (frame_of([(1.0, 1.0)], 0).assign(frame="a"), "no number"),
        (frame_of([(1.0, 1.0)], 0).assign(x_px="a"), "cannot be read as numbers"),
    ],
)
def test_bad_tables_end_in_one_line(table: pd.DataFrame, says: str) -> None:
    with pytest.raises(UsageError, match=says) as error:
        track(table)
    assert "\n" not in str(error.value)


def test_time_does_not_run_backwards() -> None:
    table = pd.concat([frame_of([(5.0, 5.0)], f) for f in range(3)])
    with pytest.raises(UsageError, match="backwards"):
        track(table, times=[0.0, 2.0, 1.0])
    with pytest.raises(UsageError, match="2 times for 3 frames"):
        find_events(track(table), times=[0.0, 1.0])
    tracker = Tracker()
    tracker.add(frame_of([(5.0, 5.0)], 2))
    with pytest.raises(UsageError, match="frame 2 came after frame 2"):
        tracker.add(frame_of([(5.0, 5.0)], 2))


def test_command_writes_its_files(
    hopping: tuple[Movie, Tracking], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = hopping
    made.atoms.to_csv(tmp_path / "atoms.csv", index=False)
    out = tmp_path / "out"
    assert run(["track", str(tmp_path), "-o", str(out), "--frame-time", "0.5"]) == 0
    names = {p.name for p in out.iterdir()}
    assert names == {"tracks.csv", "events.csv", "transitions.csv", "events.json"}
    assert "hop" in capsys.readouterr().out
    events = pd.read_csv(out / "events.csv")
    assert (events["kind"] == "hop").sum() == len(made.events)
    assert run(["track", str(tmp_path / "none"), "-o", str(out)]) == 3
    assert run(["track", str(tmp_path), "-o", str(out), "--dose", "-1"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
    assert atomscope.track is track


def test_the_table_that_cannot_be_read_is_named(
    hopping: tuple[Movie, Tracking], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hopping[0].atoms.to_csv(tmp_path / "atoms.csv", index=False)
    (tmp_path / "defects.csv").write_text("")
    assert run(["track", str(tmp_path), "-o", str(tmp_path / "out")]) == 3
    line = capsys.readouterr().err
    assert "defects.csv: cannot be read" in line
    assert "table of atoms" not in line


@pytest.mark.parametrize("seed", [1003, 1004])
def test_short_stays_and_trades_among_likes_are_no_other_atoms(seed: int) -> None:
    """A trimer that turned for nine frames; three silicon atoms, some unread, that stayed."""
    made = movie("trimer", seed, Setting(frames=200, size=100, rate=0.02, miss=MISSES[seed % 3]))
    number = track(made.atoms, shape=made.shape).atoms["track"]
    known = made.atoms.assign(track=number, true=made.identity)
    silicon = made.truth.loc[made.truth["species"] == "Si", "identity"].unique()
    rows = known[known["true"].isin(silicon)].dropna(subset="track")
    assert (rows.groupby("true")["track"].nunique() == 1).all()
    assert rows["track"].nunique() == 3


def to_and_fro(stays: list[int], seed: int) -> Movie:
    """Silicon goes to and fro between two sites of graphene, and stays so many frames at each."""
    made = movie("still", seed, replace(EASY, frames=sum(stays)))
    table, truth = made.atoms, made.truth
    first = truth[truth["frame"] == 0]
    xy = first[["x_px", "y_px"]].to_numpy()
    middle = np.full(2, (EASY.size - 1) / 2)
    a = int(np.argmin(np.hypot(*(xy - middle).T)))
    b = int(np.argsort(np.hypot(*(xy - xy[a]).T))[1])
    a, b = (int(first["identity"].iloc[k]) for k in (a, b))
    other = np.repeat(np.arange(len(stays)) % 2 == 1, stays)[table["frame"]]
    identity = made.identity.copy()
    at_a, at_b = made.identity == a, made.identity == b
    identity[other & at_a], identity[other & at_b] = b, a
    silicon = identity == a
    wrong = np.random.default_rng(seed).random(len(table)) < np.where(silicon, 0.03, 0.003)
    short = np.cumsum(stays)[np.flatnonzero(np.array(stays) == 1)] - 1
    wrong &= ~np.isin(table["frame"], short)
    species = np.where(silicon ^ wrong, "Si", "C").astype(object)
    atoms = table.assign(species=species, species_p=np.where(silicon, 0.97, 0.997))
    return replace(made, atoms=atoms, identity=identity)


@pytest.mark.parametrize("seed", [6, 8])
def test_a_dopant_that_goes_to_and_fro_is_followed_though_away_for_one_frame(seed: int) -> None:
    made = to_and_fro([30, 28, 33, 1, 29, 31, 27], seed)
    assert switches(made, track(made.atoms, shape=made.shape)) == 0
    # of one that stays where it is otherwise, two misreadings are likelier
    made = to_and_fro([91, 1, 87], seed)
    found = track(made.atoms, shape=made.shape)
    assert switches(made, found) == 4
    least = found.tracks.nsmallest(2, "same")  # both atoms that traded places
    assert list(least["frame"]) == [91, 91]
    assert least["same"].max() < 1


def test_where_no_dopant_is_no_atom_is_doubtful() -> None:
    made = movie("still", 5, EASY)
    rows = track(made.atoms.assign(species="C"), shape=made.shape).tracks
    assert (rows["same"] == 1).all()


def test_a_reading_is_worth_what_the_movie_shows(rng: np.random.Generator) -> None:
    here = np.arange(4000) < 400
    says = here ^ (rng.random(4000) < 0.05)
    plain = Readings(says, np.full(4000, 0.97)).log_odds(here)
    assert len(np.unique(plain)) == 2
    # probabilities that are drawn without regard to what is true add nothing but scatter
    sure = rng.choice([0.999, 0.995, 0.98], 4000)
    blind = Readings(says, sure).log_odds(here)
    weight = (2 * sure - 1) / (2 * 0.97 - 1)
    assert np.abs(blind - plain * weight).max() < 1.0
    # those that are lower where a reading is wrong do
    wrong = says != here
    told = Readings(says, np.where(wrong, 0.95, 0.999)).log_odds(here)
    assert (told[wrong & ~says] > plain[wrong & ~says] + 2).all()
    assert (told[wrong & says] < plain[wrong & says] - 2).all()


def test_places_of_a_dopant_have_the_chances_of_all_its_ways(rng: np.random.Generator) -> None:
    """Every way of a dopant over three places in a row, or not there, by itself."""
    frames, xy = 4, np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    evidence = rng.normal(0, 3, (frames, 3))
    rate = 0.1
    found = follow(evidence, xy, 1.0, Habit(rate, csr_array((3, 3)), np.zeros(3)))
    step = np.full((4, 4), np.exp(GONE))
    step[3, 3] = 1.0
    apart = np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
    step[:3, :3] = np.choose(apart, [1 - rate, rate / 3, rate**2 / 6]) + np.exp(JUMP)
    every = np.array(list(np.ndindex(*[4] * frames)))
    seen = np.exp(np.column_stack([evidence, np.zeros(frames)]))
    chance = np.where(every[:, 0] < 3, np.exp(GONE / 3), 1.0)
    chance *= np.prod([seen[t, every[:, t]] for t in range(frames)], axis=0)
    chance *= np.prod([step[every[:, t - 1], every[:, t]] for t in range(1, frames)], axis=0)
    chance /= chance.sum()
    for t in range(frames):
        there = [chance[every[:, t] == place].sum() for place in range(4)]
        assert found.chance[t] == pytest.approx(there, rel=1e-6)


@pytest.mark.parametrize("ways", [((0, 1), (1, 2)), ((1, 2), (0, 1)), ((0, 1), (1, 0)), ((2, 0),)])
def test_hops_of_one_moment_leave_every_atom_at_one_place(
    ways: tuple[tuple[int, int], ...],
) -> None:
    """One dopant goes where another one was, which goes on; the host atom takes what is left."""
    time = np.tile(np.arange(10), 3)
    place, none = np.repeat(np.arange(3), 10), np.zeros(30)
    log = Log(
        time, place, np.arange(30), np.zeros((30, 2)), none, place, none, [], np.arange(10), [], 1.0
    )
    track = place.copy()
    late = np.arange(10) >= 5
    paths = [Way(np.where(late, b, a), np.ones((10, 4)), 0.0) for a, b in ways]
    _trade(log, place, [Dopant.of(0, path, np.arange(3)) for path in paths], track)
    table = track.reshape(3, 10)
    assert (np.sort(table, axis=0) == np.arange(3)[:, None]).all()
    assert (table[:, :5] == np.arange(3)[:, None]).all()
    assert all((table[b, 5:] == a).all() for a, b in ways)
