"""Losses of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from atomscope.io.write import write_whole


def curves(logs: Sequence[Path], path: Path) -> None:
    """Draw the losses of the phases of a training run, one line each for training and validation.

    Args:
        logs: Files metrics.csv of the phases, in order.
        path: PNG to write.
    """
    import pandas as pd
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    done = 0
    for log in logs:
        table = pd.read_csv(log)
        for name, colour in (("train_loss", "0.6"), ("validation_loss", "#0b6e99")):
            label = name.replace("_", " ") if done == 0 else None
            axes.plot(done + table["step"], table[name], color=colour, label=label)
        done += int(table["step"].iloc[-1])
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend(frameon=False)
    write_whole(path, lambda draft: figure.savefig(draft, dpi=120))
