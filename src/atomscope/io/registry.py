"""All readers in one place; other packages add theirs through an entry point."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from atomscope.errors import InputError
from atomscope.io import hdf, nanonis, numpy_files, pictures, rosetta, scanning, tiff
from atomscope.io.candidate import Candidate
from atomscope.io.createc import read_createc
from atomscope.io.mrc import read_mrc
from atomscope.io.rhk import read_sm4
from atomscope.io.ser import read_emi, read_ser

ENTRY_POINT_GROUP = "atomscope.readers"
_HEAD = 512


@dataclass(frozen=True)
class Reader:
    """A reader of one family of files.

    Attributes:
        name: Name for messages.
        candidates: Function from the path to what is in the file, nothing loaded yet. It may
            raise anything: whatever is no `AtomscopeError` becomes a line about a damaged file.
        suffixes: Endings of file names, small letters, with the dot.
        magic: Signatures as (offset, bytes), any of which is enough. A file that carries the
            signature is read whatever its name; without any signature the suffix decides alone.
    """

    name: str
    candidates: Callable[[Path], list[Candidate]]
    suffixes: tuple[str, ...]
    magic: tuple[tuple[int, bytes], ...] = ()

    def signed(self, head: bytes) -> bool:
        """Tell whether the first bytes of a file carry a signature of this reader."""
        return any(head[at : at + len(mark)] == mark for at, mark in self.magic)


HDF5 = ((0, b"\x89HDF\r\n\x1a\n"),)
_ZIP = ((0, b"PK\x03\x04"), (0, b"PK\x05\x06"))
_TIFF = tuple((0, mark) for mark in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
_CREATEC = tuple((0, mark) for mark in (b"[Paramco32]", b"[Paramet32]", b"[Parameter]"))
_SPECTRA = ((0, b"Experiment\t"), (0, b"Grid dim="))
_PICTURES = ((0, b"\x89PNG\r\n"), (0, b"\xff\xd8\xff"), (0, b"BM"))
_MOVIES = ((4, b"ftyp"), (8, b"AVI "), (0, b"GIF8"), (0, b"\x1aE\xdf\xa3"))

BUILT_IN: tuple[Reader, ...] = (
    Reader("NumPy array", numpy_files.read_npy, (".npy",), ((0, b"\x93NUMPY"),)),
    Reader("NumPy archive", numpy_files.read_npz, (".npz",), _ZIP),
    Reader("Nion Swift ndata", numpy_files.read_ndata, (".ndata", ".ndata1"), _ZIP),
    Reader("TIFF", tiff.read_tiff, (".tif", ".tiff", ".btf"), _TIFF),
    Reader("Velox or NCEM EMD", partial(rosetta.read_rosetta, kind="emd"), (".emd",), HDF5),
    Reader("HyperSpy file", hdf.read_hspy, (".hspy", ".hdf5"), HDF5),
    Reader("HDF5", hdf.read_hdf5, (".h5", ".hf5", ".hdf5", ".hdf", ".nxs", ".he5"), HDF5),
    Reader("HDF5 in another EMD layout", hdf.read_other_emd, (".emd",), HDF5),
    Reader("HyperSpy zarr folder", hdf.read_zspy, (".zspy", ".zarr")),
    Reader("FEI TIA ser", read_ser, (".ser",), ((0, b"II\x97\x01"),)),
    Reader("FEI TIA emi", read_emi, (".emi",)),
    Reader("MRC", read_mrc, (".mrc", ".mrcs", ".ali", ".st", ".rec"), ((208, b"MAP"),)),
    Reader("Gatan DigitalMicrograph", rosetta.read_rosetta, (".dm3", ".dm4")),
    Reader("RosettaSciIO", rosetta.read_rosetta, rosetta.OTHER_SUFFIXES),
    Reader("Nanonis sxm", nanonis.read_sxm, (".sxm",), ((0, b":NANONIS_VERSION:"),)),
    Reader("Createc", read_createc, (".dat",), _CREATEC),
    Reader("Nanonis spectra", nanonis.refuse_spectra, (".dat", ".3ds"), _SPECTRA),
    Reader("Gwyddion", scanning.read_gwy, (".gwy",), ((0, b"GWYP"), (0, b"GWYO"))),
    Reader("Omicron MATRIX", scanning.read_mtrx, ("_mtrx", ".mtrx"), ((0, b"ONTMATRX0101"),)),
    Reader("RHK SM4", read_sm4, (".sm4",), ((2, "STiMage".encode("utf-16-le")),)),
    Reader("picture", pictures.read_picture, (".png", ".jpg", ".jpeg", ".bmp"), _PICTURES),
    Reader("movie", pictures.read_movie, (".mp4", ".avi", ".gif", ".mov", ".mkv"), _MOVIES),
)


@cache
def readers() -> tuple[Reader, ...]:
    """Return all readers: those of other packages first, then the built-in ones."""
    from importlib.metadata import entry_points

    added = []
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            added.append(entry.load())
        except Exception as error:  # a broken plug-in must not stop the reading of other files
            logging.getLogger("atomscope").warning("reader %s left out: %s", entry.name, error)
    return (*added, *BUILT_IN)


def split_path(source: str | Path) -> tuple[Path, str | None]:
    """Return the file that 'a.h5::/data' names, and the path inside it; None without one."""
    file, mark, inner = str(source).rpartition("::")
    return (Path(file).expanduser(), inner) if mark else (Path(source).expanduser(), None)


def find(path: Path) -> list[Reader]:
    """Return the readers that may read a file or folder, best first.

    Raises:
        InputError: The file is missing, empty, a folder, unknown, or not what its name says.
    """
    name = path.name.casefold()
    named = [r for r in readers() if name.endswith(r.suffixes)]
    head = _head(path, folder_ok=any(not r.magic for r in named))
    signed = [r for r in readers() if r.signed(head)]
    # The suffix chooses among readers that share a signature (HDF5, zip).
    chosen = [r for r in named if r in signed] or signed or [r for r in named if not r.magic]
    if chosen:
        return chosen
    if named:
        wanted = " or ".join(r.name for r in named)
        raise InputError(
            f"{path.name}: starts with {head[:8]!r}; expected a file of type {wanted}. "
            "It is damaged or carries the wrong suffix: export it again."
        )
    raise InputError(
        f"{path.name}: the file type is not known (suffix {path.suffix or 'none'!r}); expected for "
        "example dm3, dm4, emd, ser, mrc, tif, h5, sxm, npy or png. Export it as TIFF."
    )


def _head(path: Path, *, folder_ok: bool) -> bytes:
    try:
        exists = path.exists()
    except (OSError, ValueError):  # a name that no file system takes
        exists = False
    if not exists:
        raise InputError(f"{path}: no such file; expected a micrograph. Check the path.")
    if path.is_dir():
        if folder_ok and path.suffix:
            return b""
        raise InputError(f"{path}: this is a folder; expected one file. Name a file in it.")
    if not path.is_file():
        raise InputError(f"{path}: a device or pipe; expected a file. Save the data first.")
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be opened ({error.strerror}); expected a readable file. "
            "Check its permissions."
        ) from error
    if not head:
        raise InputError(f"{path.name}: the file is empty; expected a micrograph. Copy it again.")
    return head
