"""Other packages: optional ones, and what they raise."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from atomscope.errors import AtomscopeError, InputError, MissingExtraError


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


@contextmanager
def whole(name: str, kind: str) -> Iterator[None]:
    """Turn what another package raises on a damaged file into a line of ours, its own chained.

    Raises:
        InputError: Anything but errors of ours and a full memory was raised inside.
    """
    try:
        yield
    except (AtomscopeError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"{name}: damaged or cut short; expected a whole file of type {kind}. "
            "Copy or export it again."
        ) from error
