"""What every analysis needs is imported in one go, with nothing beside it."""

from __future__ import annotations

import gc
import sys
from importlib.util import LazyLoader, find_spec, module_from_spec

UNUSED = ("numpy.f2py", "numpy.testing")  # scipy asks for all that numpy has; these take 0.1 s


def import_all() -> None:
    """Import what every analysis needs, and look for no garbage among it: that takes 0.2 s."""
    if "atomscope.pipeline" in sys.modules:
        return
    gc.disable()
    try:
        for unused in UNUSED:
            _import_when_used(unused)
        import atomscope.pipeline  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


def _import_when_used(name: str) -> None:
    """Put off the import of a module until something in it is asked for."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    package, _, own = name.rpartition(".")
    spec.loader = LazyLoader(spec.loader)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    setattr(sys.modules[package], own, module)
