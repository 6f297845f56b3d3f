"""Arrays of other packages, conversions there and back, frames on demand."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atomscope.errors import InputError, UsageError
from atomscope.io import Frames, from_array, read, to_hyperspy, to_sidpy, to_xarray
from atomscope.io.frames import cut
from atomscope.types import Image
from io_files import ramp

A = ramp()
MOVIE = np.stack([A, A + 1])
DTYPES = st.sampled_from(["u1", "<u2", ">u2", "u4", "i2", "<f4", ">f4", "f8", "?"])
SHAPES = hnp.array_shapes(min_dims=2, max_dims=3, min_side=5, max_side=9)


def test_numpy_is_taken_as_it_is() -> None:
    image = read(A)
    assert image.data is A
    assert read(A, pixel_size=0.1).pixel_size == 0.1
    assert read(image) is image
    assert read([[1, 2], [3, 4]]).data.shape == (2, 2)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (A[0], "profile"),
        (np.zeros((2, 2, 8, 8)), "4-D"),
        (A + 1j, "modulus"),
        (A.astype(object), "object"),
        (np.zeros((0, 5)), "empty"),
        (np.array([["a", "b"]]), "not numbers"),
        (np.zeros(8, dtype=[("R", "u1"), ("G", "u1")]), "records"),
        ([[1, 2], [3]], "length"),
    ],
)
def test_arrays_that_are_no_image(bad: Any, word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        read(bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [None, 3, 2.5, object(), b"a.tif"])
def test_no_array_at_all(bad: Any) -> None:
    with pytest.raises(UsageError, match="expected the path"):
        read(bad)


def test_masked_pixels_become_nan() -> None:
    masked = np.ma.masked_less(A.astype("u2"), 5)
    frame = read(masked).frame(0)
    np.testing.assert_array_equal(np.isnan(frame), np.ma.getmaskarray(masked))


def test_lazy_arrays_stay_lazy(tmp_path: Path) -> None:
    dask = pytest.importorskip("dask.array")
    zarr = pytest.importorskip("zarr")
    chunked = dask.from_array(MOVIE, chunks=(1, 12, 10))
    assert read(chunked).data is chunked
    stored = zarr.create_array(store=str(tmp_path / "a.zarr"), data=MOVIE)
    np.testing.assert_array_equal(read(stored).frame(1), A + 1)
    np.testing.assert_array_equal(read(tmp_path / "a.zarr").frame(1), A + 1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = MOVIE
        image = read(file["a"])
        np.testing.assert_array_equal(image.frame(1), A + 1)


@given(values=hnp.arrays(DTYPES, SHAPES), kind=st.sampled_from(["npy", "npz", "h5", "tif"]))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_round_trip_of_any_array(values: np.ndarray, kind: str, tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        np.save(path, values)
    elif kind == "npz":
        np.savez(path, values)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["a"] = values
    else:
        values = values.astype("u1") if values.dtype == bool else values
        tifffile.imwrite(path, values, photometric="minisblack")
    data = np.asarray(read(path).data)
    np.testing.assert_array_equal(data, values)
    assert data.dtype.kind == values.dtype.kind


def test_a_large_memory_map_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    shape = (10_000, 1024, 1024)  # 20 GB on paper, a sparse file on disk
    with path.open("wb") as stream:
        header = {"descr": "<u2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + int(np.prod(shape)) * 2)
    movie = read(path)
    assert isinstance(movie.data, np.memmap)
    assert movie.frame(9_999).shape == (1024, 1024)
    assert read(movie.data).data is movie.data


@given(key=st.one_of(
    st.integers(-4, 3),
    st.slices(4),
    st.tuples(st.integers(-4, 3), st.slices(12)),
    st.tuples(st.slices(4), st.slices(12), st.integers(0, 9)),
    st.just(...),
))  # fmt: skip
def test_frames_slice_as_numpy(key: Any) -> None:
    values = np.stack([A + i for i in range(4)])
    asked: list[int] = []

    def frame(index: int) -> np.ndarray:
        asked.append(index)
        return values[index]

    lazy = Frames(values.shape, values.dtype, frame)
    np.testing.assert_array_equal(lazy[key], values[key])
    if isinstance(key, int):
        assert asked == [key % 4]


@given(key=st.one_of(
    st.integers(-3, 2),
    st.slices(3),
    st.tuples(st.integers(-3, 2), st.slices(12)),
    st.tuples(st.slices(3), st.slices(12), st.integers(0, 9)),
))  # fmt: skip
def test_a_part_of_a_movie_slices_as_numpy(key: Any) -> None:
    values = np.stack([A + i for i in range(5)])
    part = cut(Image(values), (1, 4))
    np.testing.assert_array_equal(part.data[key], values[1:4][key])


def test_a_frame_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        movie = file.create_dataset("data/movie", data=MOVIE, chunks=(1, *A.shape), compression=4)
        file["data/other"] = A[:4, :4]
        start = movie.id.get_chunk_info(0).byte_offset
    with path.open("r+b") as stream:
        stream.seek(start)
        stream.write(bytes(20))
    with pytest.raises(InputError, match=r"^m.h5 \[/data/movie\]: cannot be read"):
        read(path).frame(0)


@pytest.mark.parametrize("kind", ["tif", "h5", "mp4"])
def test_frames_from_several_threads(kind: str, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import imageio.v3 as iio
    import tifffile

    path = tmp_path / f"a.{kind}"
    frames = np.stack([np.full((32, 32), 10 * i, "u1") for i in range(20)])
    if kind == "tif":
        tifffile.imwrite(path, frames, compression="zlib", photometric="minisblack")
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["a"] = frames
    else:
        pytest.importorskip("imageio_ffmpeg")
        iio.imwrite(path, frames)
    movie = read(path)
    with ThreadPoolExecutor(4) as pool:
        means = [float(f.mean()) for f in pool.map(movie.frame, range(20))]
    np.testing.assert_allclose(means, frames.mean((1, 2)), atol=3 if kind == "mp4" else 0)


def test_frames_outside_are_refused() -> None:
    lazy = Frames((4, 12, 10), "f4", lambda i: A)
    with pytest.raises(IndexError):
        lazy[4]
    assert np.asarray(lazy).shape == (4, 12, 10)
    assert len(lazy) == 4


@pytest.mark.parametrize("values", [A, MOVIE])
@pytest.mark.parametrize("pixel_size", [0.2, None])
def test_xarray_round_trip(values: np.ndarray, pixel_size: float | None) -> None:
    xarray = pytest.importorskip("xarray")
    times = (0.0, 0.5) if values.ndim == 3 else None
    image = Image(values, pixel_size, "haadf", "name", times)
    array = to_xarray(image)
    assert isinstance(array, xarray.DataArray)
    back = read(array)
    assert back.pixel_size == (None if pixel_size is None else pytest.approx(pixel_size))
    assert (back.modality, back.name, back.times) == (image.modality, image.name, times)
    np.testing.assert_array_equal(back.frame(0), image.frame(0))


def test_xarray_in_nm() -> None:
    xarray = pytest.importorskip("xarray")
    coords = {
        "y": ("y", np.arange(12) * 0.02, {"units": "nm"}),
        "x": ("x", np.arange(10) * 0.02, {"units": "nm"}),
    }
    array = xarray.DataArray(A, coords, ("y", "x"))
    assert read(array).pixel_size == pytest.approx(0.2)
    array.coords["x"].attrs["units"] = array.coords["y"].attrs["units"] = "1/nm"
    with pytest.raises(InputError, match="diffraction"):
        read(array)


def _stand_in(module: str, name: str, **fields: Any) -> Any:
    return type(name, (), {"__module__": module, **fields})()


def test_hyperspy_signal_by_its_shape() -> None:
    def axis(scale: float, unit: str) -> Any:
        return types.SimpleNamespace(scale=scale, units=unit, offset=0.0)

    axes = types.SimpleNamespace(_axes=[axis(0.5, "s"), axis(0.02, "nm"), axis(0.02, "nm")])
    metadata = types.SimpleNamespace(get_item=lambda key, default: "HAADF")
    signal = _stand_in(
        "hyperspy._signals.signal2d", "Signal2D", data=MOVIE, axes_manager=axes, metadata=metadata
    )
    image = from_array(signal)
    assert image.data is MOVIE
    assert image.pixel_size == pytest.approx(0.2)
    assert image.modality == "haadf"
    assert image.times == pytest.approx((0, 0.5))


def test_sidpy_dataset_by_its_shape() -> None:
    def axis(size: int) -> Any:
        return types.SimpleNamespace(values=np.arange(size) * 0.02, units="nm")

    fields = {"shape": A.shape, "dtype": A.dtype, "ndim": 2, "title": "HAADF"}
    kind = types.SimpleNamespace(name="IMAGE")
    slicing = {"__getitem__": lambda self, key: A[key]}
    dataset = _stand_in(
        "sidpy.sid.dataset", "Dataset", _axes={0: axis(12), 1: axis(10)}, data_type=kind,
        **fields, **slicing,
    )  # fmt: skip
    image = from_array(dataset)
    assert image.pixel_size == pytest.approx(0.2)
    np.testing.assert_array_equal(image.frame(0), A)
    spectra = types.SimpleNamespace(name="SPECTRAL_IMAGE")
    dataset = _stand_in(
        "sidpy.sid.dataset", "Dataset", _axes={}, data_type=spectra, **fields, **slicing
    )
    with pytest.raises(InputError, match="SPECTRAL_IMAGE"):
        from_array(dataset)


@pytest.mark.parametrize("module", ["hyperspy.api", "sidpy"])
def test_with_the_real_package(module: str) -> None:
    pytest.importorskip(module)
    convert = to_hyperspy if module.startswith("hyperspy") else to_sidpy
    back = from_array(convert(Image(A, 0.2, "haadf", "name")))
    assert back.pixel_size == pytest.approx(0.2)
    np.testing.assert_array_equal(back.frame(0), A)


def test_reading_imports_nothing_heavy() -> None:
    import subprocess

    heavy = "xarray, hyperspy, sidpy, rsciio, tifffile, h5py, zarr, imageio, dask, matplotlib"
    code = (
        "import sys, numpy as np, atomscope.io as io; io.read(np.ones((8, 8)));"
        f"print([m for m in '{heavy}'.split(', ') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
