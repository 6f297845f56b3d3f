"""TIFF: values of every type, memory maps, and the calibrations of several programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from atomscope.errors import InputError
from atomscope.io import list_images, read
from io_files import ramp

A = ramp()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("shape", [(12, 10), (3, 12, 10)])
def test_values_and_memory_map(
    dtype: str, order: Any, shape: tuple[int, ...], tmp_path: Path
) -> None:
    values = (np.arange(np.prod(shape)) % 251).reshape(shape).astype(order + dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=order, photometric="minisblack")
    image = read(tmp_path / "a.tif")
    assert isinstance(image.data, np.memmap)
    assert image.data.shape == shape
    assert image.pixel_size is None
    np.testing.assert_array_equal(np.asarray(image.data), values)


@pytest.mark.parametrize("pages", [1, 4])
def test_compressed_pages_are_decoded_one_by_one(pages: int, tmp_path: Path) -> None:
    frames = np.stack([A + i for i in range(pages)])
    tifffile.imwrite(tmp_path / "a.tif", frames, compression="zlib", photometric="minisblack")
    image = read(tmp_path / "a.tif")
    assert image.n_frames == pages
    np.testing.assert_array_equal(image.frame(pages - 1), frames[-1])


def test_lzw_without_extra_packages(tmp_path: Path) -> None:
    pages = [Pillow.fromarray((A + i).astype("u1")) for i in range(3)]
    pages[0].save(
        tmp_path / "a.tif", compression="tiff_lzw", save_all=True, append_images=pages[1:]
    )
    movie = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(movie.frame(2), (A + 2).astype("u1"))


@pytest.mark.parametrize(
    ("unit", "pixels_per_unit", "angstroms"),
    [
        ("nm", 50.0, 0.2),
        ("Å", 5.0, 0.2),
        ("A", 5.0, 0.2),
        ("\\u00B5m", 5e4, 0.2),
        ("um", 5e4, 0.2),
        ("micron", 5e4, 0.2),
        ("pm", 0.05, 0.2),
        ("pixel", 1.0, None),
        ("inch", 96.0, None),
        ("cm", 28.3, None),
    ],
)
def test_imagej(unit: str, pixels_per_unit: float, angstroms: float | None, tmp_path: Path) -> None:
    # ImageJ text is ASCII; it writes other signs escaped.
    text = unit.encode("ascii", "backslashreplace").decode().replace("\\xc5", "\\u00C5")
    tifffile.imwrite(
        tmp_path / "a.tif",
        A,
        imagej=True,
        resolution=(pixels_per_unit, pixels_per_unit),
        metadata={"unit": text},
    )
    image = read(tmp_path / "a.tif")
    assert image.pixel_size == (None if angstroms is None else pytest.approx(angstroms, rel=1e-5))
    np.testing.assert_array_equal(image.frame(0), A)


def test_imagej_movie_has_frame_times(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.stack([A, A + 1, A + 2]),
        imagej=True,
        resolution=(50, 50),
        metadata={"unit": "nm", "finterval": 0.5, "axes": "TYX"},
    )
    movie = read(tmp_path / "a.tif")
    assert movie.times == pytest.approx((0, 0.5, 1))
    assert movie.pixel_size == pytest.approx(0.2)


def test_imagej_diffraction_pattern_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", A, imagej=True, resolution=(5, 5), metadata={"unit": "1/nm"}
    )
    with pytest.raises(InputError, match="diffraction"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize(("unit", "angstroms"), [("nm", 0.5), ("Å", 0.05), (None, 500.0)])
def test_ome(unit: str | None, angstroms: float, tmp_path: Path) -> None:
    metadata: dict[str, Any] = {"axes": "TYX", "PhysicalSizeX": 0.05, "PhysicalSizeY": 0.05}
    if unit:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    metadata |= {"TimeIncrement": 20.0, "TimeIncrementUnit": "ms"}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.stack([A, A]), ome=True, metadata=metadata)
    movie = read(tmp_path / "a.ome.tif")
    assert movie.pixel_size == pytest.approx(angstroms)
    assert movie.times == pytest.approx((0, 0.02))


@pytest.mark.parametrize(
    ("unit", "value", "angstroms"),
    [
        ("INCH", 72, None),
        ("INCH", 300, None),
        ("CENTIMETER", 118, None),
        ("CENTIMETER", 5e8, 0.2),
        ("NONE", 1, None),
    ],
)
def test_plain_resolution(unit: str, value: float, angstroms: float | None, tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", A, resolution=(value, value), resolutionunit=unit, metadata=None
    )
    expected = None if angstroms is None else pytest.approx(angstroms)
    assert read(tmp_path / "a.tif").pixel_size == expected


def test_gatan_tags(tmp_path: Path) -> None:
    tags = [(65003, 2, 0, "nm", True), (65004, 2, 0, "nm", True)]
    tags += [(65009, 12, 1, 0.02, True), (65010, 12, 1, 0.02, True)]
    tifffile.imwrite(tmp_path / "a.tif", A, extratags=tags, metadata=None)
    assert read(tmp_path / "a.tif").pixel_size == pytest.approx(0.2)


def test_thermo_metadata(tmp_path: Path) -> None:
    text = "[User]\r\nUser=me\r\n[Scan]\r\nPixelWidth=2e-11\r\nPixelHeight=2e-11\r\n"
    tags = [(34682, 2, 0, text, True)]
    tifffile.imwrite(tmp_path / "a.tif", A, extratags=tags, metadata=None)
    assert read(tmp_path / "a.tif").pixel_size == pytest.approx(0.2)


def test_several_images_in_one_file(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(A[:6, :6], metadata=None)
        file.write(A, metadata=None)
    image = read(tmp_path / "a.tif")
    assert image.data.shape == A.shape
    assert "2 arrays" in image.warnings[0]
    assert read(tmp_path / "a.tif", select=0).data.shape == (6, 6)
    assert [e.shape for e in list_images(tmp_path / "a.tif")] == [(6, 6), (12, 10)]


@pytest.mark.parametrize("count", [3, 4])
def test_few_frames_that_were_saved_as_colour_planes(count: int, tmp_path: Path) -> None:
    frames = np.stack([A + i for i in range(count)])
    tifffile.imwrite(
        tmp_path / "a.tif", frames, photometric="rgb", planarconfig="separate", metadata=None
    )
    movie = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.asarray(movie.data), frames)


def _hot(values: np.ndarray) -> np.ndarray:
    level = values / values.max() * 3
    return (np.stack([np.clip(level - i, 0, 1) for i in range(3)], -1) * 255).astype("u1")


@pytest.mark.parametrize("planar", [False, True])
def test_coloured(planar: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = ramp(64, 64)

    def write(name: str, rgb: np.ndarray) -> Path:
        data = np.moveaxis(rgb, -1, 0) if planar else rgb
        config = "separate" if planar else "contig"
        tifffile.imwrite(tmp_path / name, data, photometric="rgb", planarconfig=config)
        return tmp_path / name

    grey = np.repeat((values / 20).astype("u1")[..., None], 3, -1)
    np.testing.assert_array_equal(read(write("grey.tif", grey)).frame(0), grey[..., 0])

    labelled = grey.copy()
    labelled[60:62, 5:30] = (255, 0, 0)
    assert "coloured" in read(write("labelled.tif", labelled)).warnings[0]

    hot = read(write("hot.tif", _hot(values)))
    assert "False colours" in hot.warnings[0]
    order = np.argsort(values.ravel(), kind="stable")
    assert (np.diff(hot.frame(0).ravel()[order]) >= -1e-3).all()

    photograph = rng.integers(0, 255, (64, 64, 3)).astype("u1")
    with pytest.raises(InputError, match="convert it to grey"):
        read(write("photograph.tif", photograph))


DETECTORS = ("BF", "ABF", "HAADF", "DPC")


def _write_channels(path: Path, kind: str, values: np.ndarray, axes: str, **options: Any) -> Path:
    """An OME-TIFF or ImageJ file of one channel for each detector."""
    if kind == "ome":
        metadata: dict[str, Any] = {"axes": axes, "Channel": {"Name": list(DETECTORS)}}
        metadata |= {"PhysicalSizeX": 0.02, "PhysicalSizeXUnit": "nm"}
        metadata |= {"PhysicalSizeY": 0.02, "PhysicalSizeYUnit": "nm"}
        tifffile.imwrite(path, values, ome=True, metadata=metadata, **options)
    else:
        labels = list(DETECTORS) * (values.shape[0] if axes[0] == "T" else 1)
        metadata = {"axes": axes, "unit": "nm", "Labels": labels}
        tifffile.imwrite(
            path, values, imagej=True, resolution=(50, 50), metadata=metadata, **options
        )
    return path


@pytest.mark.parametrize(
    ("kind", "options"), [("ome", {}), ("ome", {"compression": "zlib"}), ("imagej", {})]
)
def test_channels_are_detectors_and_no_frames(
    kind: str, options: dict[str, Any], tmp_path: Path
) -> None:
    values = np.stack([A + 1000 * i for i in range(4)])
    path = _write_channels(tmp_path / "a.tif", kind, values, "CYX", **options)
    entries = list_images(path)
    assert [(e.name, e.shape, e.modality) for e in entries] == [
        ("BF", A.shape, "bf"),
        ("ABF", A.shape, "abf"),
        ("HAADF", A.shape, "haadf"),
        ("DPC", A.shape, "unknown"),
    ]
    best = read(path)
    assert (best.n_frames, best.modality) == (1, "haadf")
    assert "'HAADF' (number 2) was taken" in best.warnings[0]
    assert best.pixel_size == pytest.approx(0.2)
    for number, name in enumerate(DETECTORS):
        np.testing.assert_array_equal(read(path, select=name).frame(0), values[number])
        np.testing.assert_array_equal(read(path, select=number).frame(0), values[number])


@pytest.mark.parametrize(
    ("kind", "axes", "options"),
    [
        ("ome", "TCYX", {}),
        ("ome", "CTYX", {}),
        ("ome", "CTYX", {"compression": "zlib"}),
        ("ome", "TCYX", {"compression": "zlib"}),
        ("imagej", "TCYX", {}),
    ],
)
def test_a_movie_for_each_channel(
    kind: str, axes: str, options: dict[str, Any], tmp_path: Path
) -> None:
    values = np.stack([[A + 1000 * c + t for c in range(4)] for t in range(3)])
    stored = np.swapaxes(values, 0, 1) if axes[0] == "C" else values
    path = _write_channels(tmp_path / "a.tif", kind, stored, axes, **options)
    for number, name in enumerate(DETECTORS):
        movie = read(path, select=name)
        np.testing.assert_array_equal(np.asarray(movie.data), values[:, number])
    assert read(path).modality == "haadf"


def test_channels_without_names(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.stack([A, A + 1]), imagej=True, metadata={"axes": "CYX"}
    )
    assert [e.name for e in list_images(tmp_path / "a.tif")] == ["channel 0", "channel 1"]
    np.testing.assert_array_equal(read(tmp_path / "a.tif").frame(0), A)


@pytest.mark.parametrize(("axes", "warned"), [("ZYX", True), ("TYX", False)])
def test_slices_may_be_no_movie(axes: str, warned: bool, tmp_path: Path) -> None:
    frames = np.stack([A, A + 1, A + 2])
    tifffile.imwrite(tmp_path / "a.tif", frames, imagej=True, metadata={"axes": axes})
    movie = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.asarray(movie.data), frames)
    assert any("slices" in line for line in movie.warnings) == warned
