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
