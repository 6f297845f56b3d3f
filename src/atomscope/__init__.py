"""atomscope: from an atom-resolved micrograph to a calibrated table of atoms.

The root is lazy: a name is imported the first time it is used, so that
`import atomscope` loads neither plotting nor tables nor a runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Image": "atomscope.types",
    "read": "atomscope.io",
    "simulate": "atomscope.simulate",
    "train": "atomscope.train",
    "detect": "atomscope.detect",
    "refine": "atomscope.refine",
    "report": "atomscope.report",
    "analyze": "atomscope.pipeline",
}
__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from atomscope.types import Image as Image


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"atomscope has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
