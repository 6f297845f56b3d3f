"""Fingerprint of an input, for the run card."""

from __future__ import annotations

import hashlib
from pathlib import Path

from atomscope.errors import InputError

_BLOCK = 1 << 20
_WHOLE_UP_TO = 1 << 30
_END = 64 << 20


def input_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file (or of all files in a folder) with a prefix that says how.

    Files above 1 GiB are told by their size and their first and last 64 MiB: 'sha256-ends:...';
    everything else is read whole: 'sha256:...'.

    Raises:
        InputError: There is no such file.
    """
    source = Path(path)
    if source.is_dir():
        parts = sorted(p for p in source.rglob("*") if p.is_file())
        lines = (f"{p.relative_to(source).as_posix()} {input_hash(p)}\n" for p in parts)
        return "sha256-folder:" + hashlib.sha256("".join(lines).encode()).hexdigest()
    try:
        return _file_hash(source)
    except OSError as error:
        raise InputError(
            f"{source}: cannot be read ({error.strerror}); expected a file. Check the path."
        ) from error


def _file_hash(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        if size <= _WHOLE_UP_TO:
            while block := stream.read(_BLOCK):
                digest.update(block)
            return "sha256:" + digest.hexdigest()
        digest.update(str(size).encode())
        digest.update(stream.read(_END))
        stream.seek(-_END, 2)
        digest.update(stream.read(_END))
    return "sha256-ends:" + digest.hexdigest()
