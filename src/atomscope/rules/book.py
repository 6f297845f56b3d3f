"""Rule books: what a host is made of, and what its defects are called. YAML, no code."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from atomscope.documents import fault, parse_yaml
from atomscope.errors import UsageError
from atomscope.formula import parse
from atomscope.graph.faces import LONGEST

FOLDER = Path(__file__).parent / "books"
_COUNT = re.compile(r"(\d+)(?:(\+)|-(\d+))?")
_FIELDS = frozenset(
    (
        "foreign",
        "shell",
        "rings",
        "missing",
        "swaps",
        "extra",
        "found",
        "site",
        "walls",
        "gained",
        "lost",
        "n",
    )
)
_PARTS = ("foreign", "shell", "rings", "missing", "swaps", "extra", "walls", "paired")

Count = int | str
Pattern = dict[str | int, Count]


class Rule(BaseModel):
    """One name, and what a group of deviating atoms must be to get it.

    Parts that are not mentioned must be absent; '*' in a pattern stands for anything, and a
    part that is the word 'any' may be anything.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="may hold words of _FIELDS in braces")
    foreign: Pattern | Literal["any"] = Field({}, description="atoms that the host has not")
    shell: Pattern | Literal["any"] = Field("any", description="host atoms bonded to these")
    rings: Pattern | Literal["any"] = Field({}, description="rings of another size than the host's")
    fused: Pattern | Literal["any"] = Field("any", description="bonds shared by these: '5-5': 1")
    missing: Pattern | Literal["any"] = Field({}, description="sites without an atom")
    swaps: Pattern | Literal["any"] = Field({}, description="'found@site': another column there")
    extra: Pattern | Literal["any"] = Field({}, description="atoms beside or on top of the host")
    walls: Pattern | Literal["any"] = Field({}, description="pieces of a border between domains")
    paired: Pattern | Literal["any"] = Field({}, description="metal atoms in rows that pair up")
    chain: bool = Field(False, description="several in a row are one: pieces of a boundary")
    row: bool = Field(False, description="members stand in one straight row of neighbouring sites")
    general: bool = Field(
        False, description="the name covers many configurations: none of them is known by it"
    )

    @field_validator(*_PARTS, "fused")
    @classmethod
    def _counts(cls, pattern: Pattern | str) -> Pattern | str:
        for text in pattern.values() if isinstance(pattern, dict) else ():
            low, high = bounds(text)
            if high < max(low, 1):
                raise ValueError(f"count {text!r} can never be met")
        return pattern

    @field_validator("name")
    @classmethod
    def _fields(cls, name: str) -> str:
        words = {field for _, field, _, _ in Formatter().parse(name) if field is not None}
        if words - _FIELDS:
            raise ValueError(f"may hold {', '.join(sorted(_FIELDS))} in braces")
        return name

    @model_validator(mode="after")
    def _says_something(self) -> Rule:
        if not any(getattr(self, part) for part in _PARTS if part != "shell"):
            raise ValueError("can never fire: name at least one of " + ", ".join(_PARTS))
        if self.rings != "any" and any(not 3 <= int(size) <= LONGEST for size in self.rings):
            raise ValueError(f"can never fire: rings have 3 to {LONGEST} atoms")
        return self


class Book(BaseModel):
    """The rules of one host, or of a family of hosts.

    Attributes:
        name: Of the host.
        columns: Species of the undisturbed columns, by role: {C: [C]}, {M: [Mo, W], X2: [S2]}.
            Borders of domains are told by the first two, paired rows by the first.
        sense: What shows a defect: 'rings' of bonds, or 'sites' of the lattice.
        ring: Size of the rings of the host.
        coordination: Bonds of an atom of the host.
        bonds: Longest bonds in Å by pair of elements, or the name of such a set in
            `graph.rules`; others by covalent radii.
        paired: Whether the rows of the first kind of columns pair up in the host itself.
        labels: What the classes of a model of the zoo stand for, as words of `columns` and
            `roles`, where species are unknown.
        roles: Further words for sets of species that the host may hold, to be used in patterns.
        rules: In order; the first that fits gives the name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str = ""
    columns: dict[str, tuple[str, ...]]
    sense: Literal["rings", "sites"]
    ring: int = Field(6, ge=3, le=12)
    coordination: int = Field(3, ge=1, le=12)
    bonds: dict[str, float] | Literal["graphene", "chalcogenide", "radii"] = {}
    paired: bool = False
    roles: dict[str, tuple[str, ...]] = {}
    labels: dict[str, str] = {}
    rules: tuple[Rule, ...]

    @field_validator("columns", "roles")
    @classmethod
    def _formulas(cls, roles: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for words in roles.values():
            try:
                for word in words:
                    parse([word])
            except UsageError as error:
                raise ValueError(str(error)) from None
        return roles

    @property
    def host(self) -> frozenset[str]:
        """Species of all undisturbed columns, and the words for them."""
        return frozenset(self.columns) | {s for words in self.columns.values() for s in words}

    @property
    def usual(self) -> frozenset[str]:
        """Species of the host, and those that it may hold beside them."""
        return self.host | {s for words in self.roles.values() for s in words}

    def species(self, word: str) -> frozenset[str] | None:
        """Return what a word of a pattern stands for; None for anything."""
        if word == "*":
            return None
        return frozenset((word, *self.roles.get(word, ()), *self.columns.get(word, ())))

    def known(self, species: set[str]) -> bool:
        """Whether each role of the host is among these species."""
        return all(species & {role, *words} for role, words in self.columns.items())


def bounds(text: Count) -> tuple[int, int]:
    """Return the least and the largest number that a count allows: 2, '2+', '2-4', '*'.

    Raises:
        ValueError: It is none of these.
    """
    if text == "*":
        return 0, 10**9
    found = _COUNT.fullmatch(str(text))
    if found is None:
        raise ValueError(f"count {text!r}: expected a number, '2+', '2-4' or '*'")
    low = int(found[1])
    return low, 10**9 if found[2] else int(found[3] or low)


def names() -> tuple[str, ...]:
    """Return the names of the books that come with the package."""
    return tuple(sorted(p.stem for p in FOLDER.glob("*.yaml")))


def load(name: str | Path) -> Book:
    """Load a book by the name of a built-in one, or from a YAML file.

    Raises:
        UsageError: There is no such book, or it says something unknown or impossible.
    """
    return _built_in(str(name)) if str(name) in names() else _read(Path(name))


@cache
def _built_in(name: str) -> Book:
    return _read(FOLDER / f"{name}.yaml")


def _read(path: Path) -> Book:
    try:
        return Book.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(
            f"rules {str(path)!r}: neither built in ({', '.join(names())}) nor a YAML file."
        ) from error
    except ValidationError as error:
        raise UsageError(f"rules {path}: {fault(error)}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"rules {path}: not a YAML file ({fault(error)}).") from error
