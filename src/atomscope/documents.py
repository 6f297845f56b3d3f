"""YAML documents: cards, recipes, rule books."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from atomscope.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)

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


def load_named(kind: type[Model], name: str | Path, folder: Path, what: str) -> Model:
    """Read the document of a name in a folder of the package, or a YAML file.

    Args:
        kind: What the document must be.
        name: Without the suffix, or a path.
        folder: Of the documents that have names.
        what: The kind of document in words.

    Raises:
        UsageError: There is none, it is not YAML, or it says something unknown.
    """
    from pydantic import ValidationError

    path = folder / f"{name}.yaml"
    if not path.is_file() and not Path(name).exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise UsageError(f"recipe {str(name)!r}: neither a file nor one of {known}.")
    path = path if path.is_file() else Path(name)
    try:
        return kind.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise UsageError(f"{path}: not {what} ({fault(error)}).") from error
