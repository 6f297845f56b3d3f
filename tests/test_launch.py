"""Several processes train as one would on their batches together, and one of them writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from atomscope.train import run as loop  # noqa: E402
from atomscope.train.data import TRAINING, Batches  # noqa: E402
from atomscope.train.launch import crew, is_first  # noqa: E402
from atomscope.train.settings import TrainingPhase, TrainingRecipe  # noqa: E402

# Without batch norms, and with no weight on the offsets, whose mean is over each process's own
# pixels, the mean of the gradients is the gradient of the batches together.
TINY = TrainingRecipe(
    name="tiny",
    phases=(TrainingPhase(steps=4, fold=True), TrainingPhase(steps=2, seed=1, fold=True)),
    batch=2,
    size=32,
    widths=(16, 16, 16, 16),
    offset_weight=1e-30,
    validate_every=2,
    validation_batches=1,
    average=0.5,
)
ONE = """
import sys
from pathlib import Path
from atomscope.train.run import train
from atomscope.train.settings import TrainingRecipe
train(TrainingRecipe.model_validate_json(sys.argv[1]), Path(sys.argv[2]), workers=0)
"""


def test_alone_a_process_is_the_first_and_shares_nothing(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    network = torch.nn.Linear(2, 2)
    with crew("cpu") as us:
        assert us.first
        assert us.device == "cpu"
        assert us.shared(network) is network
        us.wait()
    assert is_first()
    monkeypatch.setenv("RANK", "1")
    assert not is_first()


def test_ranks_draw_what_one_large_batch_would_hold():
    large = TINY.model_copy(update={"batch": 4})
    whole = Batches(large, large.phases[0], TRAINING, 3, 4)[0]
    parts = [Batches(TINY, TINY.phases[0], TRAINING, 3, 4, rank)[0] for rank in (0, 1)]
    for one, first, second in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(one, torch.cat([first, second]))


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(tmp_path):
    from safetensors.numpy import load_file

    script, out = tmp_path / "one.py", tmp_path / "two"
    script.write_text(ONE)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launch, str(script), TINY.model_dump_json(), str(out)]
    paths = [str(Path(loop.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]

    def change(path: Path) -> np.ndarray:
        state = load_file(path)
        return np.concatenate([state[k].ravel() for k in sorted(state)])

    two = change(out / "phase-2" / "best.safetensors")
    large = TINY.model_copy(update={"batch": 4})
    same = change(loop.train(large, tmp_path / "large", workers=0))
    other = change(loop.train(TINY, tmp_path / "small", workers=0))
    assert np.linalg.norm(two - same) < 0.1 * np.linalg.norm(two - other)
    # one line per validation: the second process wrote nothing
    rows = np.genfromtxt(out / "phase-1" / "metrics.csv", delimiter=",", names=True)
    np.testing.assert_array_equal(rows["step"], [2, 4])
