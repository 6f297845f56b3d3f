"""From what a group of deviations is made of to its name: the first rule that fits."""

from __future__ import annotations

import re
from collections import Counter

from atomscope.rules.book import Book, Pattern, Rule, bounds
from atomscope.rules.findings import Group

_PARTS = ("foreign", "rings", "missing", "swaps", "extra", "walls", "paired")


def name_of(group: Group, book: Book) -> tuple[str, int] | None:
    """Return the name of a group and the number of the rule that gave it; None where none fits."""
    parts = group.parts
    for number, rule in enumerate(book.rules):
        if _fits(rule, group, parts, book):
            return rule.name.format(**_words(group, parts)), number
    return None


def joinable(book: Book, part: str, word: str) -> bool:
    """Whether some rule takes more than one finding where one is of this kind."""
    for rule in book.rules:
        pattern = getattr(rule, part)
        if not isinstance(pattern, dict):
            continue
        own = [bounds(count)[1] for key, count in pattern.items() if _stands(str(key), word, book)]
        others = sum(
            len(p) for n in _PARTS if n != part and isinstance(p := getattr(rule, n), dict)
        )
        if own and (max(own) > 1 or len(pattern) + others > 1):
            return True
    return False


def _fits(rule: Rule, group: Group, parts: dict[str, Counter[str]], book: Book) -> bool:
    if rule.row and not group.row:
        return False
    if rule.shell != "any" and not _covers(rule.shell, group.shell, book):
        return False
    if rule.fused != "any" and not _covers(rule.fused, group.fused, book):
        return False
    return all(
        pattern == "any" or _covers(pattern, parts.get(name, Counter()), book)
        for name in _PARTS
        for pattern in (getattr(rule, name),)
    )


def _covers(pattern: Pattern, content: Counter[str], book: Book) -> bool:
    """Whether each thing is meant by a word of the pattern, and each word is met often enough."""
    keys = sorted((str(key) for key in pattern), key=lambda key: key.count("*"))
    met = dict.fromkeys(keys, 0)
    for word, count in content.items():
        key = next((key for key in keys if _stands(key, word, book)), None)
        if key is None:
            return False
        met[key] += count
    limits = {str(key): bounds(count) for key, count in pattern.items()}
    return all(limits[key][0] <= met[key] <= limits[key][1] for key in keys)


def _stands(key: str, word: str, book: Book) -> bool:
    """Whether a word of a pattern means a species, a size of a ring, or 'found@site'."""
    if "@" in key:
        return "@" in word and all(
            _stands(k, w, book) for k, w in zip(key.split("@"), word.split("@"), strict=True)
        )
    meant = book.species(key)
    return meant is None or word in meant


def _words(group: Group, parts: dict[str, Counter[str]]) -> dict[str, str | int]:
    swaps = parts.get("swaps", Counter())
    found = Counter(word.split("@")[0] for word in swaps.elements())
    site = Counter(word.split("@")[1] for word in swaps.elements())
    return {
        "foreign": _formula(parts.get("foreign", Counter())),
        "shell": _formula(group.shell),
        "rings": "-".join(sorted(parts.get("rings", Counter()).elements(), key=int)),
        "missing": _short(parts.get("missing", Counter())),
        "extra": _short(parts.get("extra", Counter())),
        "swaps": "+".join(sorted(word.replace("@", "_") for word in swaps.elements())),
        "walls": _short(parts.get("walls", Counter())),
        "found": _short(found),
        "site": _short(site),
        "gained": _more(found, site),
        "lost": _more(site, found),
        "n": sum(sum(parts.get(name, Counter()).values()) for name in ("missing", "swaps")),
    }


def _more(columns: Counter[str], than: Counter[str]) -> str:
    """Atoms that some columns hold beyond those of others: SSe beyond S2 is Se."""
    return _short(_atoms_of(columns) - _atoms_of(than))


def _atoms_of(columns: Counter[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for word in columns.elements():
        for symbol, number in re.findall(r"([A-Z][a-z]?)(\d*)", word):
            counts[symbol] += int(number or 1)
    return counts


def _formula(counts: Counter[str]) -> str:
    """Si1C3: every count is written, the elements in alphabetical order."""
    return "".join(f"{word}{count}" for word, count in sorted(counts.items()))


def _short(counts: Counter[str]) -> str:
    """S2 for any number of columns of one kind; BN3 where there are several, site-0+site-1."""
    if len(counts) == 1:
        return next(iter(counts))
    if any("-" in word for word in counts):
        return "+".join(sorted(counts.elements()))
    return "".join(f"{w}{n if n > 1 else ''}" for w, n in sorted(counts.items()))
