"""Embeddings: the same in any blocks, threads and order, and from networks of earlier versions."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray

from atomscope.classify.embedding import FOLDER, ROUNDS, embed, embedder, load_embedder
from atomscope.errors import UsageError
from atomscope.models import blocks
from atomscope.models.nearest import nearest
from atomscope.models.surroundings import surroundings

ONE_GRAPH = Path(__file__).parent / "data" / "network-in-one-graph.onnx"  # of version 2, as it was


def sheet(count: int = 900, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions and brightness of a square lattice with atoms missing, in no order."""
    rng = np.random.default_rng(seed)
    side = int(np.sqrt(count))
    xy = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) * 10.0
    xy = rng.permutation(xy)[: int(0.9 * len(xy))] + rng.normal(0, 0.5, (int(0.9 * len(xy)), 2))
    return xy, np.exp(rng.normal(0, 0.3, len(xy)))


def table(xy: NDArray[np.float64], light: NDArray[np.float64], frame: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"frame": frame, "x_px": xy[:, 0], "y_px": xy[:, 1], "intensity": light})


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("most", [1, 100, 256])
def test_same_in_any_chunks_and_threads(most: int, threads: int) -> None:
    inputs = surroundings(*sheet()).inputs()
    whole = embedder().run(inputs, len(inputs["node"]))
    assert whole.std(axis=0).max() > 0.1
    np.testing.assert_allclose(embedder().run(inputs, most, threads), whole, atol=1e-5)


def test_surroundings_are_the_same_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = surroundings(*sheet()).inputs()
    monkeypatch.setattr(blocks, "BLOCK", 64)
    monkeypatch.setattr(blocks, "MANY", 0)
    for name, values in surroundings(*sheet()).inputs().items():
        np.testing.assert_array_equal(values, whole[name])


def test_tables_of_frames_in_any_order_are_embedded_alike() -> None:
    both = pd.concat([table(*sheet(seed=seed), frame=seed) for seed in (1, 2)], ignore_index=True)
    order = np.random.default_rng(5).permutation(len(both))
    seen, mixed = embed(both), embed(both.iloc[order])
    np.testing.assert_allclose(mixed.values, seen.values[order], atol=1e-5)
    np.testing.assert_array_equal(mixed.whole, seen.whole[order])
    assert seen.around is not None
    assert mixed.around is not None
    for rows in (0, 7, 100):  # the same atoms stand beside each
        near = order[mixed.around.near[rows][mixed.around.near[rows] >= 0]]
        assert set(near) == set(seen.around.near[order[rows]]) - {-1}
    alone = embed(both[both["frame"] == 2])
    np.testing.assert_allclose(
        alone.values, seen.values[(both["frame"] == 2).to_numpy()], atol=1e-5
    )


@pytest.mark.parametrize("count", [0, 1, 2, 3, 13, 40])
def test_few_atoms(count: int) -> None:
    xy, light = (values[:count] for values in sheet())
    values = embed(table(xy, light)).values
    assert values.shape == (count, len(embedder().scatter))
    assert np.isfinite(values).all()


def earlier(folder: Path) -> Path:
    """A network as earlier versions wrote it: one graph."""
    folder.mkdir()
    shutil.copy(ONE_GRAPH, folder / "weights.onnx")
    shutil.copy(FOLDER / "test_pair.npz", folder)
    card = yaml.safe_load((FOLDER / "structures.yaml").read_text())
    del card["rounds_sha256"]
    (folder / "structures.yaml").write_text(yaml.safe_dump(card))
    return folder


def test_networks_of_earlier_versions_still_work(tmp_path: Path) -> None:
    net = load_embedder(earlier(tmp_path / "net"))
    assert net.sha256 == embedder().sha256  # the same weights, so classifiers know both
    xy, light = sheet(8100)
    now, then = (embed(table(xy, light), net=which).values for which in (embedder(), net))
    np.testing.assert_allclose(now, then, atol=1e-5)
    (tmp_path / "net" / "weights.onnx").write_bytes(b"no")
    with pytest.raises(UsageError, match=r"weights\.onnx is not that of its card"):
        load_embedder(tmp_path / "net")


def test_networks_of_earlier_versions_are_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    from atomscope.train import rounds

    def shipped(network: object, inputs: object, folder: Path) -> list[str]:
        """The graphs of the same weights; that they are exported right is seen by fine-tuning."""
        copies = [shutil.copy(FOLDER / f"{name}.onnx", folder) for name in ROUNDS]
        return [rounds.sha256_of(Path(copy)) for copy in copies]

    monkeypatch.setattr(rounds, "write_rounds", shipped)
    folder = earlier(tmp_path / "net")
    shutil.copy(FOLDER / "weights.safetensors", folder)
    rounds.renew(folder)
    net = load_embedder(folder)
    assert len(net.sessions) == 2
    assert not (folder / "weights.onnx").exists()
    assert net.sha256 == embedder().sha256
    inputs = surroundings(*sheet()).inputs()
    np.testing.assert_allclose(net.run(inputs), embedder().run(inputs), atol=1e-5)


def places(kind: str) -> NDArray[np.float64]:
    rng = np.random.default_rng(3)
    crowd = np.concatenate([rng.normal(0, 1, (900, 2)), rng.uniform(-300, 300, (900, 2))])
    return {
        "even": sheet(2500)[0],
        "far": sheet(2500)[0] + 1e5,
        "random": rng.uniform(0, 100, (2000, 2)),
        "crowd": crowd,
        "islands": rng.normal(0, 1, (1500, 2)) + 1e4 * rng.integers(0, 2, (1500, 1)),
        "strip": rng.uniform(0, 1, (2000, 2)) * [5000, 20],
        "column": rng.uniform(0, 1, (2000, 2)) * [20, 5000],
        "line": rng.uniform(0, 100, (1200, 1)) * [1.0, 0.0],
        "pairs": np.repeat(rng.uniform(0, 100, (700, 2)), 2, axis=0),
        "point": np.ones((1200, 2)),
        "few": rng.uniform(0, 1, (20, 2)),
    }[kind]


KINDS = "even far random crowd islands strip column line pairs point few"


@pytest.mark.parametrize("kind", KINDS.split())
def test_nearest_are_the_nearest(kind: str) -> None:
    xy = places(kind)
    distance, index = nearest(xy, 36)
    rows = np.arange(len(xy))
    assert distance.shape == index.shape == (len(xy), min(36, len(xy) - 1))
    assert (index != rows[:, None]).all()
    assert (np.diff(np.sort(index, axis=1), axis=1) > 0).all()  # none twice
    apart = np.linalg.norm(xy[index] - xy[:, None], axis=2)
    np.testing.assert_allclose(distance, apart, rtol=1e-6)  # as far as it is said
    for row in rows[:: len(xy) // 20]:
        others = np.delete(np.linalg.norm(xy - xy[row], axis=1), row)
        np.testing.assert_allclose(distance[row], np.sort(others)[: index.shape[1]], rtol=1e-6)


@pytest.mark.parametrize("change", ["turn", "mirror", "scale", "order"])
def test_large_tables_are_embedded_alike_however_they_lie(change: str) -> None:
    xy, light = sheet(2500)  # enough that neighbours are found by cells
    before = embed(table(xy, light)).values
    order = np.random.default_rng(0).permutation(len(xy))
    c, s = np.cos(0.7), np.sin(0.7)
    after = {
        "turn": lambda: embed(table(xy @ np.array([[c, s], [-s, c]]), light)).values,
        "mirror": lambda: embed(table(xy * [-1, 1], light)).values,
        "scale": lambda: embed(table(xy * 0.37, light)).values,
        "order": lambda: embed(table(xy[order], light[order])).values[np.argsort(order)],
    }[change]()
    np.testing.assert_allclose(after, before, atol=1e-4)
