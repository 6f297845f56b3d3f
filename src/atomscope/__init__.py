"""atomscope: from an atom-resolved micrograph to a calibrated table of atoms.

The root is lazy: a name is imported the first time it is used, so that
`import atomscope` loads neither plotting nor tables nor a runtime.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atomscope.types import Image as Image

__version__ = "0.1.0"

_HOME = {
    "Image": "atomscope.types",
    "analyze": "atomscope.pipeline",
    "classify": "atomscope.classify",
    "connect": "atomscope.graph",
    "detect": "atomscope.detect",
    "discover": "atomscope.discover",
    "identify": "atomscope.species",
    "measure": "atomscope.measure",
    "read": "atomscope.io",
    "refine": "atomscope.refine",
    "report": "atomscope.report",
    "simulate": "atomscope.train.sets",
    "teach": "atomscope.classify",
    "track": "atomscope.track",
    "train": "atomscope.train.run",
}
__all__ = [
    "Image",
    "analyze",
    "classify",
    "connect",
    "detect",
    "discover",
    "identify",
    "measure",
    "read",
    "refine",
    "report",
    "simulate",
    "teach",
    "track",
    "train",
]


class _Root(ModuleType):
    """The package: its verbs stay verbs when the sub-package of the same name is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"atomscope has no {name!r}; it has {', '.join(__all__)}")
    try:
        home = import_module(_HOME[name])
    except ModuleNotFoundError as error:
        if name != "train" or str(error.name).startswith(__name__):
            raise
        from atomscope.errors import MissingExtraError

        raise MissingExtraError(
            f"training needs {error.name}, which is not installed: pip install 'atomscope[train]'"
        ) from error
    verb = getattr(home, name)
    if find_spec(f"{__name__}.{name}"):
        # `import atomscope.simulate.samples as s` looks modules up by the name of what it finds
        verb.__name__ = f"{__name__}.{name}"
    return verb


def __dir__() -> list[str]:
    return __all__


sys.modules[__name__].__class__ = _Root
