"""Units of length, time and angle as microscope files spell them."""

from __future__ import annotations

import unicodedata

_ANGSTROM: dict[str, float] = {
    "pm": 0.01,
    "a": 1.0,
    "å": 1.0,
    "ang": 1.0,
    "angstrom": 1.0,
    "nm": 10.0,
    "nanometer": 10.0,
    "um": 1e4,
    "μm": 1e4,
    "micron": 1e4,
    "micrometer": 1e4,
    "mm": 1e7,
    "cm": 1e8,
    "in": 2.54e8,
    "inch": 2.54e8,
    "m": 1e10,
    "meter": 1e10,
}
_SECONDS: dict[str, float] = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "ms": 1e-3,
    "μs": 1e-6,
    "us": 1e-6,
}
_RECIPROCAL_UNITS = {"mrad", "rad", "mradian", "radian", "°", "deg", "degree"}
_RECIPROCAL_STARTS = ("1/", "reciprocal", "inverse")
_DROPPED = str.maketrans("", "", "[](){}^$_")
_SPECTRAL_UNITS = {"ev", "kev", "mev", "v", "mv", "hz", "khz", "mhz"}


def plain(unit: object) -> str:
    """Return a unit in one spelling: one code point for Å and µ, small letters, no plural.

    Blanks, braces and signs of typesetting are dropped: '1 / nm' is 1/nm, 'nm^{-1}' is nm-1.
    """
    text = unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit or "")
    # NFKC joins the two signs for Å and for µ; NCEM files write [n_m].
    text = unicodedata.normalize("NFKC", text).casefold()
    text = "".join(text.translate(_DROPPED).split())
    text = text.replace("−", "-").replace("metre", "meter").replace("ångström", "angstrom")
    return text[:-1] if len(text) > 3 and text.endswith("s") else text


def angstroms(unit: object) -> float | None:
    """Return how many Å one unit of length is, or None where the unit is no length."""
    return _ANGSTROM.get(plain(unit))


def seconds(unit: object) -> float | None:
    """Return how many s one unit of time is, or None where the unit is no time."""
    return _SECONDS.get(plain(unit))


def is_reciprocal(unit: object) -> bool:
    """Tell whether a unit belongs to a diffraction pattern: 1/nm, nm^-1, reciprocal Å, mrad."""
    text = plain(unit)
    return text in _RECIPROCAL_UNITS or text.startswith(_RECIPROCAL_STARTS) or text.endswith("-1")


def is_spectral(unit: object) -> bool:
    """Tell whether a unit belongs to a spectrum: energy, voltage, frequency."""
    return plain(unit) in _SPECTRAL_UNITS
