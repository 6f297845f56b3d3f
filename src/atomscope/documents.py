"""YAML documents: cards, recipes, rule books."""

from __future__ import annotations

from typing import Any

import yaml

# libyaml reads a rule book ten times faster than Python does; not every PyYAML is built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> Any:
    """Return the plain values of a document.

    Raises:
        yaml.YAMLError: It is no YAML.
    """
    return yaml.load(text, Loader=_LOADER)


def fault(error: Exception) -> str:
    """Return in one line why a document cannot be used: the first thing that is wrong with it."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())[:160]
    faults: Any = error.errors()
    # A misspelt key makes the right one missing, too: the cause before its consequence.
    first = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    place = ".".join(str(part) for part in first["loc"])
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "no such setting, check its spelling"
    return f"{place}: {message} (given {first['input']!r:.80})" if place else message
