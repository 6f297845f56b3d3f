"""Errors: a line for the user, the traceback for those who ask for it."""

from __future__ import annotations

import os
import traceback

from atomscope.errors import AtomscopeError

VARIABLE = "ATOMSCOPE_TRACEBACK"


def interrupted(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind an error: compiled modules make an ImportError of it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def told(error: Exception, what: object = "") -> tuple[int, str]:
    """Return exit code and line of an error, and print the traceback where it is asked for.

    Args:
        error: Of ours, or one that nobody foresaw.
        what: The input that was worked on.
    """
    if os.environ.get(VARIABLE):
        traceback.print_exception(error)
    if isinstance(error, AtomscopeError):
        return error.exit_code, str(error)
    details = " ".join(str(error).split())[:200] or "no details"
    return 1, (
        f"{f'{what}: ' if what else ''}an error that atomscope did not foresee "
        f"({type(error).__name__}: {details}). Set {VARIABLE}=1 to see where it arose, and report "
        "it."
    )
