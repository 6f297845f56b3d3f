"""Structures taught by 1, 5 and 20 examples of each, on hosts and seeds that training never saw.

    python benchmarks/fewshot.py --cache /tmp/fewshot --csv OUT.csv

True coordinates of relaxed layers with a jitter, and brightness Z^1.64 with noise; examples come
from one frame, all atoms of another one with whole surroundings are asked for. Beside it, with
the same examples: nearest mean of plain local numbers, boosted trees on them (LightGBM). Macro-F1
over the classes of a host, five draws of examples each.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from ase.data import atomic_numbers
from ase.formula import Formula

from atomscope.classify import classify, teach
from atomscope.classify.embedding import embed
from atomscope.formula import EXPONENT
from atomscope.models.surroundings import surroundings
from atomscope.simulate.boundaries import grain_boundary, phase_border
from atomscope.simulate.crystals import columns_along
from atomscope.simulate.materials import material
from atomscope.simulate.named import named_frame
from atomscope.simulate.relax import relax
from atomscope.simulate.sheets import columns_of

PIXEL = 0.11  # Å
JITTER, NOISE = 0.03, 0.08  # Å; of log brightness
SHOTS, DRAWS = (1, 5, 20), 5
KINDS = {
    "graphene": ("V1", "Si1C3", "V2(5-8-5)", "SW(55-77)", "N1C3", "Si1C4"),
    "hBN": ("V_B", "V_N", "C_N", "C_B", "Si_B"),
    "1H-MoS2": ("V_S", "V_S2", "V_Mo", "W_Mo", "Se_S", "V_S line 4"),
    "1H-WSe2": ("V_Se", "V_Se2", "V_W", "Mo_W", "S_Se"),
}
REPEAT, SIZE = 3, 900
Table = pd.DataFrame


def named(host: str, seed: int) -> Table:
    """A named frame; foreign columns bear the name of their defect, else its rim does."""
    frame = named_frame(host, KINDS[host] * REPEAT, seed, size_px=SIZE, pixel_size=PIXEL)
    atoms = frame.atoms
    truth = atoms["species"].to_numpy().astype(object)
    common = set(atoms["species"].value_counts().index[: 1 if host == "graphene" else 2])
    for defect in frame.defects.itertuples():
        members = np.array(defect.atoms.split(), dtype=int)
        foreign = [i for i in members if atoms["species"][i] not in common]
        truth[foreign or members] = defect.name
    return imaged(atoms[["x", "y"]].to_numpy(), list(atoms["species"]), truth, seed)


def borders(kind: str, seed: int) -> Table:
    """Two phases, or two grains."""
    rng = np.random.default_rng(seed)
    edges = (60.0, 60.0)
    if kind == "1H|1T MoSe2":
        sheet = phase_border(material("1H-MoSe2").atoms, edges, inclination=30.0)
        columns = columns_of(sheet)
        side = np.where(columns.xy[:, 0] > edges[0] / 2, "1T", "1H")
        names = [f"{s} {z}" for s, z in zip(side, columns.species, strict=True)]
        # a column whose two atoms part in 1T is a chalcogen all the same
        names = [n.replace("Se2", "Se") for n in names]
    else:
        sheet = relax(grain_boundary(material("graphene").atoms, rng.uniform(15, 30), edges))
        columns = columns_of(sheet)
        wall = set(sheet.defects[0].atoms)
        names = ["boundary" if i in wall else "grain" for i in range(len(columns.xy))]
        if len(columns.xy) != len(sheet.atoms):
            raise RuntimeError("columns are not atoms")
    return imaged(columns.xy, list(columns.species), np.array(names, dtype=object), seed)


def perovskite(seed: int) -> Table:
    """SrTiO3 [001] with La on Sr, empty oxygen columns and Nb-rich columns."""
    rng = np.random.default_rng(seed)
    columns = columns_along(material("SrTiO3").atoms, (0, 0, 1), edge=80.0)
    species, truth = list(columns.species), np.array(columns.species, dtype=object)
    gone = []
    for name, host, count in (("La", "Sr", 25), ("Nb", "TiO", 25), ("beside V_Sr", "Sr", 10)):
        rows = rng.choice(np.flatnonzero(truth == host), count, replace=False)
        if name.startswith("beside"):
            gone = list(rows)
            continue
        truth[rows] = name
        for i in rows:
            species[i] = "La" if name == "La" else "NbO"
    apart = np.linalg.norm(columns.xy[:, None] - columns.xy[gone], axis=2)
    near = (apart.min(axis=1) < 2.1) & (truth == "O")
    truth[near] = "beside V_Sr"
    keep = np.setdiff1d(np.arange(len(species)), gone)
    return imaged(columns.xy[keep], [species[i] for i in keep], truth[keep], seed)


def imaged(xy: np.ndarray, species: list[str], truth: np.ndarray, seed: int) -> Table:
    """Table of atoms as measured: turned at random, with jitter, brightness Z^1.64 with noise."""
    rng = np.random.default_rng(seed)
    light = {
        s: sum(n * atomic_numbers[e] ** EXPONENT for e, n in Formula(s).count().items())
        for s in set(species)
    }
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    xy = (xy + rng.normal(0, JITTER, xy.shape)) @ np.array([[c, s], [-s, c]])
    # keep an upright square, so that the rim of the table is that of the frame
    middle = (xy.max(axis=0) + xy.min(axis=0)) / 2
    half = (xy.max(axis=0) - xy.min(axis=0)).min() / 2
    inside = np.abs(xy - middle).max(axis=1) < half
    intensity = np.array([light[s] for s in species]) * np.exp(rng.normal(0, NOISE, len(xy)))
    table = pd.DataFrame({"x_px": xy[:, 0], "y_px": xy[:, 1], "intensity": intensity})
    table = table.assign(truth=truth)[inside]
    table[["x_px", "y_px"]] /= PIXEL
    return table.reset_index(drop=True).assign(frame=0, atom=np.arange(int(inside.sum())))


WORLDS: dict[str, Callable[[int], Table]] = {
    **{host: (lambda seed, host=host: named(host, seed)) for host in KINDS},
    "1H|1T MoSe2": lambda seed: borders("1H|1T MoSe2", seed),
    "graphene grains": lambda seed: borders("graphene grains", seed),
    "SrTiO3 [001]": perovskite,
}


PLAIN: dict[int, tuple[Table, np.ndarray]] = {}


def plain(table: Table) -> np.ndarray:
    """Local numbers of a table, kept while the table is."""
    if id(table) not in PLAIN:
        PLAIN[id(table)] = table, local_numbers(table)
    return PLAIN[id(table)][1]


def local_numbers(table: Table) -> np.ndarray:
    """Local numbers (N, 30): those of the atom, and distances and brightness of the neighbours."""
    seen = surroundings(table[["x_px", "y_px"]].to_numpy(), table["intensity"].to_numpy())
    return np.concatenate([seen.node, seen.edge[..., 0], seen.edge[..., 1]], axis=1)


def by_taught(train: Table, examples: Table, test: Table) -> np.ndarray:
    marks = examples[["frame", "atom"]].assign(label=examples["truth"])
    return classify(test, teach(train, marks))["structure"].to_numpy()


def by_nearest(train: Table, examples: Table, test: Table) -> np.ndarray:
    both, asked = plain(train), plain(test)
    scale = both.std(axis=0) + 1e-6
    labels = examples["truth"].unique()
    means = [both[examples.index[examples["truth"] == n]].mean(axis=0) for n in labels]
    apart = np.linalg.norm((asked[:, None] - np.array(means)) / scale, axis=2)
    return labels[apart.argmin(axis=1)]


def by_trees(train: Table, examples: Table, test: Table) -> np.ndarray:
    import lightgbm

    labels, y = np.unique(examples["truth"].to_numpy().astype(str), return_inverse=True)
    data = lightgbm.Dataset(plain(train)[examples.index], y, params={"min_data_in_bin": 1})
    options = {
        "objective": "multiclass", "num_class": len(labels), "verbose": -1, "num_threads": 1,
        "min_data_in_leaf": 1, "num_leaves": 7, "learning_rate": 0.1, "feature_fraction": 0.5,
        "min_sum_hessian_in_leaf": 1e-3, "seed": 0,
    }  # fmt: skip
    model = lightgbm.train(options, data, 60)
    return labels[model.predict(plain(test)).argmax(axis=1)].astype(object)


WAYS = {"taught": by_taught, "nearest mean": by_nearest, "boosted trees": by_trees}


def scores(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """F1 of each class."""
    return {
        n: 2 * ((truth == n) & (found == n)).sum() / ((truth == n).sum() + (found == n).sum())
        for n in np.unique(truth.astype(str))
    }


def examples_of(table: Table, shots: int, draw: int) -> Table:
    """So many examples of each class, or up to two thirds of those that are there."""
    rows = table[embed(table).whole]
    parts = [
        g.sample(max(1, min(shots, 2 * len(g) // 3)), random_state=draw)
        for _, g in rows.groupby("truth")
    ]
    return pd.concat(parts)


def changed(table: Table, what: str, rng: np.random.Generator) -> Table:
    """Return the table as another microscope would have given it."""
    name, _, value = what.partition(" ")
    v = float(value or 0)
    xy, light = table[["x_px", "y_px"]].to_numpy(), table["intensity"].to_numpy()
    spacing = np.median(surroundings(xy, light).spacing)
    if name == "gain":
        light = light * v
    if name == "gamma":
        light = light**v
    if name == "scale":
        xy = xy * v
    if name == "shear":
        xy = xy @ np.array([[1, v], [0, 1]])
    if name == "distortion":
        xy = xy + v * 8 * spacing * np.sin(xy[:, ::-1] / (8 * spacing))
    if name == "jitter":
        xy = xy + rng.normal(0, v * spacing, xy.shape)
    if name == "noise":
        light = light * np.exp(rng.normal(0, v, len(light)))
    new = table.assign(x_px=xy[:, 0], y_px=xy[:, 1], intensity=light)
    return new[rng.random(len(new)) >= v].reset_index(drop=True) if name == "dropped" else new


CHANGES = (
    "none", "gain 0.5", "gain 2", "gamma 0.7", "gamma 1.4", "scale 0.5", "scale 2", "shear 0.1",
    "shear 0.2", "distortion 0.06", "jitter 0.04", "noise 0.15", "dropped 0.05", "dropped 0.1",
    "dropped 0.2",
)  # fmt: skip


def worlds(cache: Path | None) -> dict[str, tuple[Table, Table]]:
    """Frame to teach with and frame to ask for, of each host."""
    made = {}
    for name, make in WORLDS.items():
        path = cache / f"{name.replace(' ', '-').replace('|', '-')}.pkl" if cache else None
        if path and path.is_file():
            made[name] = pickle.loads(path.read_bytes())
            continue
        made[name] = make(9001), make(9002)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pickle.dumps(made[name]))
    return made


def run(cache: Path | None) -> pd.DataFrame:
    rows = []
    for host, (train, test) in worlds(cache).items():
        whole = embed(test).whole
        for shots in SHOTS:
            for draw in range(DRAWS):
                examples = examples_of(train, shots, draw)
                for way, answer in WAYS.items():
                    found = scores(
                        test["truth"].to_numpy()[whole], answer(train, examples, test)[whole]
                    )
                    rows += [(host, shots, draw, way, n, f) for n, f in found.items()]
    return pd.DataFrame(rows, columns=["host", "shots", "draw", "way", "class", "f1"])


def robust(cache: Path | None, host: str = "1H-MoS2", shots: int = 5) -> pd.DataFrame:
    train, test = worlds(cache)[host]
    rows = []
    for what in CHANGES:
        other = changed(test, what, np.random.default_rng(7))
        whole = embed(other).whole
        for draw in range(DRAWS):
            examples = examples_of(train, shots, draw)
            for way, answer in WAYS.items():
                found = scores(
                    other["truth"].to_numpy()[whole], answer(train, examples, other)[whole]
                )
                vacancies = np.mean([f for n, f in found.items() if n.startswith("V_")])
                rows.append((what, way, draw, np.mean(list(found.values())), vacancies))
    return pd.DataFrame(rows, columns=["change", "way", "draw", "macro", "vacancies"])


def calibration(cache: Path | None) -> pd.DataFrame:
    """Stated probability against share of right answers, by number of examples."""
    rows = []
    for host, (train, test) in worlds(cache).items():
        whole = embed(test).whole
        for shots in SHOTS:
            examples = examples_of(train, shots, 0)
            marks = examples[["frame", "atom"]].assign(label=examples["truth"])
            found = classify(test, teach(train, marks))
            told = whole & found["structure_p"].notna()  # strain taken off moves the rim a little
            found = found[told]
            right = found["structure"] == test["truth"][told]
            data = {"host": host, "shots": shots, "p": found["structure_p"], "right": right}
            rows.append(pd.DataFrame(data))
    every = pd.concat(rows)
    every["bin"] = np.minimum((every["p"] * 10).astype(int), 9)
    gaps = every.groupby(["shots", "bin"])[["p", "right"]].mean()
    share = every.groupby(["shots", "bin"]).size() / every.groupby("shots").size()
    print("expected calibration error:")
    print(((gaps["p"] - gaps["right"]).abs() * share).groupby("shots").sum().round(4).to_string())
    return gaps.reset_index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--robust", action="store_true")
    parser.add_argument("--calibration", action="store_true")
    options = parser.parse_args()
    if options.calibration:
        found = calibration(options.cache)
    elif options.robust:
        found = robust(options.cache)
        print(
            found.groupby(["change", "way"], sort=False)[["macro", "vacancies"]]
            .mean()
            .unstack()
            .round(3)
            .to_string()
        )
    else:
        found = run(options.cache)
        macro = found.groupby(["host", "shots", "way", "draw"])["f1"].mean()
        print(macro.groupby(["host", "shots", "way"]).mean().unstack().round(3).to_string())
        over = found.groupby(["shots", "way", "draw"])["f1"].mean().groupby(["shots", "way"])
        print(over.agg(["mean", "std"]).unstack().round(3).to_string())
        ours = found[found["way"] == "taught"]
        print(ours.groupby(["host", "class", "shots"])["f1"].mean().unstack().round(2).to_string())
    if options.csv:
        found.to_csv(options.csv, index=False)


if __name__ == "__main__":
    main()
