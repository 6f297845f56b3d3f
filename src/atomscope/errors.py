"""Errors that a user can act on: what was given, what was expected, what to do."""


class AtomscopeError(Exception):
    """Base of all errors that atomscope raises on purpose; the message is one line for the user."""

    exit_code = 2


class UsageError(AtomscopeError, ValueError):
    """An argument, option or recipe that cannot be right (exit code 2)."""


class InputError(AtomscopeError, ValueError):
    """A file or array that cannot be read, or is not an image of atoms (exit code 3)."""

    exit_code = 3


class MissingExtraError(AtomscopeError, ImportError):
    """A format or verb that needs a package which is not installed (exit code 3)."""

    exit_code = 3
