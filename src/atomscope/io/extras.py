"""Optional packages."""

from __future__ import annotations

import importlib
from types import ModuleType

from atomscope.errors import MissingExtraError


def need(module: str, what: str, install: str = "'atomscope[io]'") -> ModuleType:
    """Import an optional package.

    Raises:
        MissingExtraError: It is not installed; the line says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{what}: needs the package {package}, which is not installed. "
            f"Run: pip install {install}"
        ) from error
