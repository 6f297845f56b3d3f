"""Reading micrographs and movies; writing tables and structures."""

from atomscope.io.candidate import Axis, Candidate
from atomscope.io.convert import (
    from_array,
    from_hyperspy,
    from_sidpy,
    from_xarray,
    to_hyperspy,
    to_sidpy,
    to_xarray,
)
from atomscope.io.frames import Frames
from atomscope.io.hashing import input_hash
from atomscope.io.read import Entry, list_images, read
from atomscope.io.registry import Reader

__all__ = [
    "Axis",
    "Candidate",
    "Entry",
    "Frames",
    "Reader",
    "from_array",
    "from_hyperspy",
    "from_sidpy",
    "from_xarray",
    "input_hash",
    "list_images",
    "read",
    "to_hyperspy",
    "to_sidpy",
    "to_xarray",
]
