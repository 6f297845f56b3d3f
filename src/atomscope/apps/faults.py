"""Errors that nobody foresaw: a line for the user, the traceback for those who ask for it."""

from __future__ import annotations

import os
import traceback

VARIABLE = "ATOMSCOPE_TRACEBACK"


def interrupted(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind an error: compiled modules make an ImportError of it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def unforeseen(what: object, error: Exception) -> str:
    """Return one line about a fault of the program; print the traceback where it is asked for."""
    if os.environ.get(VARIABLE):
        traceback.print_exception(error)
    details = " ".join(str(error).split())[:200] or "no details"
    return (
        f"{what}: an error that atomscope did not foresee ({type(error).__name__}: {details}). "
        f"Set {VARIABLE}=1 to see where it arose, and report it."
    )
