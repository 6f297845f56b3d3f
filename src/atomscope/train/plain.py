"""Exported networks without notes on where and by what they were exported."""

from __future__ import annotations

from pathlib import Path


def make_plain(path: Path) -> None:
    """Take traces of source lines, which name folders of the machine, out of an ONNX file."""
    import onnx

    model = onnx.load(path)
    parts = [model, model.graph, *model.graph.node, *model.graph.value_info]
    parts += [*model.graph.input, *model.graph.output, *model.graph.initializer]
    parts += [*model.functions, *(node for function in model.functions for node in function.node)]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""
    path.write_bytes(model.SerializeToString())
