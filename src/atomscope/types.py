"""The image: what every reader gives and every stage takes."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import InputError, UsageError
from atomscope.memory import need

FloatArray = NDArray[np.floating[Any]]
_BAND = 1024  # rows of a frame that are converted at a time
Modality = Literal["unknown", "haadf", "adf", "abf", "bf", "tem", "stm"]


@runtime_checkable
class ArrayLike2D(Protocol):
    """Anything that has a shape, a dtype and slicing: numpy, memmap, h5py, zarr, dask."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the length of each axis."""
        ...

    @property
    def dtype(self) -> Any:
        """Return the type of one value."""
        ...

    def __getitem__(self, key: Any) -> Any:
        """Return a part of the array."""
        ...


@dataclass(frozen=True)
class Image:
    """A micrograph or a movie; never modified.

    Coordinates that stages derive from it: x right, y down, origin at the centre
    of the first pixel, always in the frame of this array.

    Attributes:
        data: Values, shape (y, x) or (t, y, x); sliced frame by frame, so it may be lazy.
        pixel_size: Edge of a (square) pixel in Å, or None where it is not known.
        modality: How the contrast came about; 'unknown' where the file does not say.
        name: Short name for messages and outputs.
        times: Time of each frame in s, or None.
        metadata: What the file said about itself, as plain values.
        warnings: One line for each thing that a user should know about the reading.
        first_frame: Number of the first frame; above 0 where this is a part of a longer movie.
    """

    data: ArrayLike2D
    pixel_size: float | None = None
    modality: Modality = "unknown"
    name: str = "array"
    times: tuple[float, ...] | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    warnings: tuple[str, ...] = ()
    first_frame: int = 0

    def __post_init__(self) -> None:
        """Refuse what is not an image or a movie of real numbers."""
        shape = tuple(self.data.shape)
        if len(shape) not in (2, 3):
            raise InputError(
                f"{self.name}: the array has shape {shape}; expected (y, x) or (t, y, x). "
                "Pick one image of the array first."
            )
        if np.dtype(self.data.dtype).kind not in "buif":
            raise InputError(
                f"{self.name}: the values have type {self.data.dtype}; expected real numbers. "
                "Take the modulus of a complex image first."
            )
        check_pixel_size(self.pixel_size, self.name)

    @property
    def n_frames(self) -> int:
        """Number of frames; 1 for a single image."""
        return 1 if len(self.data.shape) == 2 else int(self.data.shape[0])

    @property
    def numbers(self) -> range:
        """Numbers of the frames: those of the movie that they were taken from."""
        return range(self.first_frame, self.first_frame + self.n_frames)

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Shape (y, x) of one frame."""
        height, width = self.data.shape[-2:]
        return int(height), int(width)

    def frame(self, number: int) -> FloatArray:
        """Return one frame as a new float32 (or float64) array of shape (y, x), native byte order.

        Raises:
            UsageError: There is no frame of that number.
            InputError: It does not fit into the memory that is available.
        """
        if number not in self.numbers:
            raise UsageError(
                f"{self.name}: frame {number} asked for; the movie has frames "
                f"{self.numbers.start} to {self.numbers.stop - 1}."
            )
        index = number - self.first_frame
        need(max(4, np.dtype(self.data.dtype).itemsize), self.name, self.frame_shape)
        raw = np.asarray(self.data[index] if len(self.data.shape) == 3 else self.data[:])
        # float32 holds 16-bit counts exactly; wider types keep their digits.
        wide = raw.dtype.itemsize > (2 if raw.dtype.kind in "ui" else 4)
        frame: FloatArray = np.empty(raw.shape, np.float64 if wide else np.float32)
        for top in range(0, len(raw), _BAND):
            frame[top : top + _BAND] = raw[top : top + _BAND]
            _let_go(self.data)
        return frame

    def frames(self) -> Iterator[FloatArray]:
        """Iterate over the frames, one in memory at a time."""
        return (self.frame(number) for number in self.numbers)

    def with_pixel_size(self, pixel_size: float | None) -> Image:
        """Return the same image with another pixel size (Å)."""
        return replace(self, pixel_size=pixel_size)


def check_pixel_size(size: object, name: str) -> None:
    """See that a pixel size is a number above 0, or None.

    Raises:
        UsageError: It is not.
    """
    if size is None:
        return
    if not (isinstance(size, Real) and np.isfinite(float(size)) and float(size) > 0):
        raise UsageError(f"{name}: pixel size {size!r}; expected Å per pixel, a number above 0.")


def _let_go(data: ArrayLike2D) -> None:
    """Give back the memory of a mapped file: its pages are read anew when asked for again."""
    shared = isinstance(data, np.memmap) and data.mode in ("r", "r+")
    if shared and hasattr(mmap, "MADV_DONTNEED"):
        data._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
