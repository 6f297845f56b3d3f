"""Every format: a file of known content comes back with its values, pixel size and modality."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import h5py
import imageio.v3 as iio
import numpy as np
import pytest

from atomscope.errors import InputError, MissingExtraError
from atomscope.io import Entry, input_hash, list_images, read
from atomscope.types import Image
from io_files import (
    Dm,
    ramp,
    write_createc,
    write_hyperspy_layout,
    write_matrix,
    write_mrc,
    write_ndata,
    write_ser,
    write_sm4,
    write_sxm,
    write_velox,
)

A = ramp()
U = ramp(dtype="u2")
MOVIE = np.stack([U, U + 1, U + 2])
NION = [{"scale": 0.01, "units": "nm", "offset": 0.0}] * 2


def _zspy(path: Path) -> Path:
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(str(path), mode="w", zarr_format=2)
    write_hyperspy_layout(root, A, [0.01, 0.01], ["nm", "nm"])
    return path


def _hspy(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        write_hyperspy_layout(file, A, [0.01, 0.01], ["nm", "nm"])
    return path


def _ncem(path: Path) -> Path:
    from rsciio.emd import file_writer

    axes = [
        {"name": n, "scale": 0.1, "offset": 0.0, "units": "nm", "size": s, "navigate": False}
        for n, s in zip("yx", A.shape, strict=True)
    ]
    metadata = {"General": {"title": "HAADF"}, "Signal": {}}
    file_writer(str(path), {"data": A, "axes": axes, "metadata": metadata, "original_metadata": {}})
    return path


def _nion_h5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["data"] = A
        file["data"].attrs["properties"] = (
            '{"title": "HAADF", "data_sources": [{"dimensional_calibrations": '
            '[{"scale": 0.01, "units": "nm"}, {"scale": 0.01, "units": "nm"}]}]}'
        )
    return path


def _nsid(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("Measurement_000/Channel_000/image")
        data = group.create_dataset("image", data=A)
        data.attrs.update({"data_type": "IMAGE", "main_data_name": "image"})
        for axis, name in enumerate("yx"):
            group[name] = np.arange(A.shape[axis]) * 0.01
            group[name].attrs["units"] = "nm"
            group[name].make_scale(name)
            data.dims[axis].attach_scale(group[name])
    return path


def _blo(path: Path) -> Path:
    pytest.importorskip("skimage", reason="block files need scikit-image")
    from rsciio.blockfile import file_writer

    stack = np.zeros((4, 5, 8, 8), "u1")
    axes = [
        {"name": n, "scale": 1.0, "offset": 0.0, "units": u, "size": s, "navigate": i < 2}
        for i, (n, u, s) in enumerate(
            (("y", "nm", 4), ("x", "nm", 5), ("dy", "cm", 8), ("dx", "cm", 8))
        )
    ]
    lazy = {"attributes": {"_lazy": False}}
    signal = {"data": stack, "axes": axes, "metadata": {}, "original_metadata": {}, **lazy}
    file_writer(str(path), signal, intensity_scaling=None, navigator=stack.sum((2, 3)))
    return path


CALIBRATED: dict[str, Any] = {
    "a.dm3": lambda p: Dm(3).write(p, A, [0.01, 0.01], ["nm", "nm"], "HAADF"),
    "a.dm4": lambda p: Dm(4).write(p, A, [0.01, 0.01], ["nm", "nm"], "HAADF"),
    "a.mrc": lambda p: write_mrc(p, A, 0.1),
    "a_1.ser": lambda p: write_ser(p, U[None], 1e-11),
    "velox.emd": lambda p: write_velox(p, {"HAADF": U}, 1e-11),
    "a.ndata": lambda p: write_ndata(p, A, NION, title="HAADF"),
    "a.hspy": _hspy,
    "a.zspy": _zspy,
    "nion.h5": _nion_h5,
    "nsid.h5": _nsid,
    "a.sxm": lambda p: write_sxm(p, A, A + 1, (12e-11, 10e-11), "down"),
    "a.dat": lambda p: write_createc(p, A, (1.2, 1.0)),
}


@pytest.mark.parametrize("name", CALIBRATED)
def test_values_pixel_size_and_listing(name: str, tmp_path: Path) -> None:
    path = CALIBRATED[name](tmp_path / name)
    image = read(path)
    np.testing.assert_allclose(image.frame(0), A, rtol=1e-6)
    assert image.pixel_size == pytest.approx(0.1, rel=1e-6)
    entries = [e for e in list_images(path) if e.is_image]
    assert any(e.shape == A.shape and e.pixel_size == pytest.approx(0.1) for e in entries)
    assert input_hash(path) == input_hash(path)


@pytest.mark.parametrize("name", ["a.dm3", "a.dm4", "velox.emd", "a.ndata", "a.hspy", "nion.h5"])
def test_modality_from_the_title(name: str, tmp_path: Path) -> None:
    assert read(CALIBRATED[name](tmp_path / name)).modality == "haadf"


def test_ncem_emd(tmp_path: Path) -> None:
    image = read(_ncem(tmp_path / "n.emd"))
    np.testing.assert_array_equal(image.frame(0), A)
    assert image.pixel_size == pytest.approx(1.0, rel=1e-5)


def test_emd_of_another_layout_is_read_as_plain_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.emd", "w") as file:
        file["picture"] = A
    np.testing.assert_array_equal(read(tmp_path / "other.emd").frame(0), A)


MOVIES: dict[str, Any] = {
    "m.dm4": lambda p: Dm(4).write(p, MOVIE, [2.5, 0.01, 0.01], ["s", "nm", "nm"], "HAADF"),
    "m.emd": lambda p: write_velox(p, {"HAADF": MOVIE}, 1e-11),
    "m.mrc": lambda p: write_mrc(p, MOVIE, 0.1),
    "m_1.ser": lambda p: write_ser(p, MOVIE, 1e-11),
    "m.ndata": lambda p: write_ndata(p, MOVIE, [{"scale": 2.5, "units": "s"}, *NION]),
}


@pytest.mark.parametrize("name", MOVIES)
def test_movies_by_frame(name: str, tmp_path: Path) -> None:
    movie = read(MOVIES[name](tmp_path / name))
    assert movie.n_frames == 3
    for index in (2, 0, 1):
        np.testing.assert_array_equal(movie.frame(index), MOVIE[index])
    assert movie.pixel_size == pytest.approx(0.1, rel=1e-6)
    if name in ("m.dm4", "m.emd", "m.ndata"):
        assert movie.times == pytest.approx((0.0, 2.5, 5.0))


def test_haadf_is_taken_among_the_detectors(tmp_path: Path) -> None:
    path = write_velox(tmp_path / "a.emd", {"BF": U + 1, "HAADF": U, "DF2": U + 2}, 1e-11)
    image = read(path)
    np.testing.assert_array_equal(image.frame(0), A)
    assert "HAADF" in image.name
    assert "3 arrays" in image.warnings[0]
    assert {e.name: e.modality for e in list_images(path)} == {
        "BF": "bf",
        "HAADF": "haadf",
        "DF2": "adf",
    }
    np.testing.assert_array_equal(read(path, select="BF").frame(0), A + 1)
    np.testing.assert_array_equal(read(path, select=2).frame(0), A + 2)
    np.testing.assert_array_equal(read(path, select="2").frame(0), A + 2)
    assert read(path, select="BF").warnings == ()


def test_emi_reads_the_ser_beside_it(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "gpl_openncem"
    image = read(folder / "16_STOimage.emi")
    np.testing.assert_array_equal(image.frame(0), read(folder / "16_STOimage_1.ser").frame(0))


@pytest.mark.parametrize("way", ["up", "down"])
def test_sxm_shows_the_surface_whatever_the_scan_direction(way: str, tmp_path: Path) -> None:
    path = write_sxm(tmp_path / "a.sxm", A, A + 1, (24e-10, 20e-10), way)
    topography = read(path)
    assert topography.modality == "stm"
    assert "Z forward" in topography.name
    np.testing.assert_array_equal(topography.frame(0), A)
    np.testing.assert_array_equal(read(path, select="Z backward").frame(0), A + 1)
    np.testing.assert_allclose(read(path, select="Current forward").frame(0), 1e-9 * A, rtol=1e-6)
    assert topography.pixel_size == pytest.approx(2.0)
    assert [e.name for e in list_images(path)] == [
        f"{channel} {way}" for channel in ("Z", "Current") for way in ("forward", "backward")
    ]


@pytest.mark.parametrize("shape", [(12, 10), (7, 20)])
def test_nanonispy2_agrees(shape: tuple[int, int], tmp_path: Path) -> None:
    nanonispy2 = pytest.importorskip("nanonispy2")
    image = ramp(*shape)
    path = write_sxm(
        tmp_path / "a.sxm", image, image + 1, (shape[0] * 1e-10, shape[1] * 1e-10), "down"
    )
    other = nanonispy2.read.Scan(str(path)).signals["Z"]
    np.testing.assert_array_equal(read(path, select="Z forward").frame(0), other["forward"])
    # The other program leaves backward lines in the order of time.
    np.testing.assert_array_equal(
        read(path, select="Z backward").frame(0), other["backward"][:, ::-1]
    )


def test_createc_channels(tmp_path: Path) -> None:
    path = write_createc(tmp_path / "a.dat", A, (1.2, 1.0))
    names = [e.name for e in list_images(path)]
    assert names == [f"{c} {d}" for d in ("forward", "backward") for c in ("topography", "current")]
    np.testing.assert_array_equal(read(path, select="current forward").frame(0), -A)
    np.testing.assert_allclose(read(path, select="topography backward").frame(0), A + 0.5)


@pytest.mark.parametrize(("sign_y", "sign_x"), [(-1, 1), (-1, -1), (1, 1), (1, -1)])
def test_sm4_shows_the_top_first_and_x_to_the_right(
    sign_y: int, sign_x: int, tmp_path: Path
) -> None:
    stored = A[::-sign_y, ::sign_x]
    image = read(write_sm4(tmp_path / "a.sm4", stored, (sign_y * 2e-11, sign_x * 2e-11)))
    np.testing.assert_allclose(image.frame(0), 0.5 * A + 2, rtol=1e-6)
    assert image.pixel_size == pytest.approx(0.2)
    assert image.modality == "stm"


def test_gwyddion(tmp_path: Path) -> None:
    gwyfile = pytest.importorskip("gwyfile")
    objects = gwyfile.objects
    tree = objects.GwyContainer()
    for number, (title, shift) in enumerate((("Current", 5.0), ("Z (Forward)", 0.0))):
        tree[f"/{number}/data/title"] = title
        tree[f"/{number}/data"] = objects.GwyDataField(
            (A + shift).astype("f8"),
            xreal=10e-10,
            yreal=12e-10,
            si_unit_xy=objects.GwySIUnit(unitstr="m"),
        )
    tree.tofile(str(tmp_path / "a.gwy"))
    image = read(tmp_path / "a.gwy")
    np.testing.assert_array_equal(image.frame(0), A)
    assert "Z (Forward)" in image.name
    assert image.pixel_size == pytest.approx(1.0)


def test_matrix_shows_the_surface_whatever_the_scan_direction(tmp_path: Path) -> None:
    pytest.importorskip("access2thematrix")
    ways = ("forward/up", "backward/up", "forward/down", "backward/down")
    traces = {way: A + shift for shift, way in enumerate(ways)}
    path = write_matrix(tmp_path / "scan--1_1.Z_mtrx", traces, (12e-10, 10e-10))
    assert [e.name for e in list_images(path)] == list(ways)
    for way, surface in traces.items():
        np.testing.assert_allclose(read(path, select=way).frame(0), surface)
    image = read(path)
    np.testing.assert_allclose(image.frame(0), A)
    assert (image.pixel_size, image.modality) == (pytest.approx(1.0), "stm")


def test_matrix_through_a_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class MtrxData:
        def open(self, path: str) -> tuple[dict[int, str], str]:
            return {0: "forward/up", 1: "backward/up"}, "ok"

        def select_image(self, trace: str) -> tuple[Any, str]:
            shift = 0 if trace.startswith("forward") else 1
            return types.SimpleNamespace(data=A[::-1] + shift, width=10e-10, height=12e-10), "ok"

    module = types.SimpleNamespace(MtrxData=MtrxData)
    monkeypatch.setitem(sys.modules, "access2thematrix", module)
    path = tmp_path / "scan--1_1.Z_mtrx"
    path.write_bytes(b"ONTMATRX0101TLKB")
    np.testing.assert_array_equal(read(path).frame(0), A)
    np.testing.assert_array_equal(read(path, select="backward/up").frame(0), A + 1)
    assert read(path).pixel_size == pytest.approx(1.0)


def test_matrix_without_its_parameter_file(tmp_path: Path) -> None:
    pytest.importorskip("access2thematrix")
    path = tmp_path / "scan--1_1.Z_mtrx"
    path.write_bytes(b"ONTMATRX0101TLKB")
    with pytest.raises(InputError, match="parameter file"):
        read(path)


def test_npz_and_its_names(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", image=A, spectrum=A[0], movie=MOVIE[:, :6, :6])
    assert {e.name: e.is_image for e in list_images(tmp_path / "a.npz")} == {
        "image": True,
        "spectrum": False,
        "movie": True,
    }
    np.testing.assert_array_equal(read(tmp_path / "a.npz").frame(0), A)
    np.testing.assert_array_equal(
        read(tmp_path / "a.npz", select="movie").frame(2), MOVIE[2, :6, :6]
    )


def test_hdf5_paths_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["small"] = A[:6, :6]
        file["group/large"] = A
        file["group/four"] = np.zeros((2, 2, 8, 8))
        file["spectrum"] = A[0]
    np.testing.assert_array_equal(read(path).frame(0), A)
    assert "/group/large" in read(path).name
    np.testing.assert_array_equal(read(f"{path}::/small").frame(0), A[:6, :6])
    np.testing.assert_array_equal(read(f"{path}::group").frame(0), A)
    path.rename(tmp_path / "a.emd")
    np.testing.assert_array_equal(read(f"{tmp_path / 'a.emd'}::/small").frame(0), A[:6, :6])
    (tmp_path / "a.emd").rename(path)
    for inner, word in (("/spectrum", "spectrum"), ("/group/four", "4-D"), ("/no", "/group/large")):
        with pytest.raises(InputError, match=word):
            read(f"{path}::{inner}")


def test_block_file_of_diffraction_patterns_is_no_image(tmp_path: Path) -> None:
    entries = list_images(_blo(tmp_path / "a.blo"))
    assert [len(e.shape) for e in entries if not e.is_image] == [4]


def test_third_party_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from atomscope.io import Axis, Candidate, Reader, registry

    def read_own(path: Path) -> list[Candidate]:
        return [Candidate("own", A.shape, A.dtype, lambda: A, (Axis(20, "pm"), Axis(20, "pm")))]

    mine = Reader("own format", read_own, (".own",), ((0, b"OWN"),))
    entry = types.SimpleNamespace(load=lambda: mine)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])
    registry.readers.cache_clear()
    try:
        (tmp_path / "a.own").write_bytes(b"OWN")
        (tmp_path / "renamed.tif").write_bytes(b"OWN")
        assert read(tmp_path / "a.own").pixel_size == pytest.approx(0.2)
        assert read(tmp_path / "renamed.tif").pixel_size == pytest.approx(0.2)
    finally:
        registry.readers.cache_clear()


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_pictures(suffix: str, tmp_path: Path) -> None:
    picture = np.kron(ramp(8, 8, "u1"), np.ones((8, 8), "u1"))
    path = tmp_path / f"a.{suffix}"
    iio.imwrite(path, picture)
    image = read(path)
    assert image.pixel_size is None
    np.testing.assert_allclose(image.frame(0), picture, atol=3 if suffix == "jpg" else 0)


def test_deep_png(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "a.png", U * 300)
    np.testing.assert_array_equal(read(tmp_path / "a.png").frame(0), (U * 300).astype("f4"))


def _discs(count: int = 6, side: int = 64) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return np.stack(
        [(np.hypot(y - 30, x - 12 - 6 * i) < 6) * np.uint8(200) + 20 for i in range(count)]
    )


@pytest.mark.parametrize("name", ["m.mp4", "m.avi", "m.gif"])
def test_videos_frame_by_frame_in_any_order(name: str, tmp_path: Path) -> None:
    if not name.endswith("gif"):
        pytest.importorskip("imageio_ffmpeg")
    frames = _discs()
    iio.imwrite(tmp_path / name, frames)
    movie = read(tmp_path / name)
    assert movie.data.shape == frames.shape
    assert movie.times is None
    for index in (5, 0, 3, 4, 1):
        # Lossy compression; a wrong frame would differ by far more in places.
        assert np.abs(movie.frame(index) - frames[index]).mean() < 5


def test_pixel_size_given_wins_and_a_contradiction_is_told(tmp_path: Path) -> None:
    path = CALIBRATED["a.dm4"](tmp_path / "a.dm4")
    image = read(path, pixel_size=0.01)
    assert image.pixel_size == 0.01
    assert any("the file says 0.1 Å" in line for line in image.warnings)
    assert read(path, pixel_size=0.1).warnings == ()


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    def image(name: str, scale_y: float) -> Image:
        return read(Dm(4).write(tmp_path / name, A, [scale_y, 0.01], ["nm", "nm"], "HAADF"))

    assert image("a.dm4", 0.01005).pixel_size == pytest.approx(0.10025)
    assert image("b.dm4", 0.011).pixel_size == pytest.approx(0.1)
    assert "wide" in image("b.dm4", 0.011).warnings[0]
    with pytest.raises(InputError, match="square"):
        image("c.dm4", 0.02)
    assert read(tmp_path / "c.dm4", pixel_size=0.1).warnings
    (entry,) = list_images(tmp_path / "c.dm4")
    assert not entry.is_image


def test_scale_without_unit_is_told_and_not_used(tmp_path: Path) -> None:
    image = read(Dm(4).write(tmp_path / "a.dm4", A, [0.25, 0.25], ["", ""], "image"))
    assert image.pixel_size is None
    assert "0.25" in image.warnings[0]


def test_entry_tells_unit_and_type(tmp_path: Path) -> None:
    (entry,) = list_images(CALIBRATED["a.dm4"](tmp_path / "a.dm4"))
    assert entry == Entry(
        0, "HAADF", (12, 10), "float32", pytest.approx(0.1), "nm", "haadf", True, "", True
    )


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("gwyfile", "a.gwy"),
        ("access2thematrix", "a--1_1.Z_mtrx"),
        ("imageio_ffmpeg", "a.mp4"),
        ("zarr", "a.zarr"),
    ],
)
def test_missing_package(
    module: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    heads = {"a.gwy": b"GWYP", "a.mp4": b"\0\0\0 ftyp", "a--1_1.Z_mtrx": b"ONTMATRX0101TLKB"}
    if name == "a.zarr":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(heads[name])
    with pytest.raises(MissingExtraError, match=r"pip install 'atomscope\[io\]'"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.unf", "a.rpl", "a.prz"])
def test_other_formats_that_rosettasciio_writes(name: str, tmp_path: Path) -> None:
    import importlib

    from rsciio import IO_PLUGINS

    axes = [
        {"name": n, "scale": 0.01, "offset": 0.0, "units": "nm", "size": s, "navigate": False,
         "index_in_array": i}
        for i, (n, s) in enumerate(zip("yx", A.shape, strict=True))
    ]  # fmt: skip
    signal = {
        "data": A,
        "axes": axes,
        "metadata": {"General": {"title": "HAADF"}, "Signal": {"signal_type": ""}},
        "original_metadata": {},
        "attributes": {"_lazy": False},
    }
    (plugin,) = (p for p in IO_PLUGINS if name[2:] in p["file_extensions"])
    importlib.import_module(plugin["api"]).file_writer(str(tmp_path / name), signal)
    image = read(tmp_path / name)
    np.testing.assert_array_equal(image.frame(0), A)
    # The calibration of a prz file is pickled, and nothing is unpickled.
    assert image.pixel_size == (None if name == "a.prz" else pytest.approx(0.1))


@pytest.mark.parametrize("name", ["a.SER", "A.DM3", "a.TIFF", "renamed.bin"])
def test_capital_suffixes_and_renamed_files(name: str, tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / name
    if name == "A.DM3":
        Dm(3).write(path, A, [0.01, 0.01], ["nm", "nm"], "HAADF")
    elif name == "a.TIFF":
        tifffile.imwrite(path, A)
    else:
        write_ser(path, U[None], 1e-11)
    np.testing.assert_array_equal(read(path).frame(0), A)


def test_renamed_file_that_cannot_be_read_says_its_right_suffix(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.bin", "w") as file:
        file["Version"] = 1
    with pytest.raises(InputError, match=r"expected \.emd"):
        read(tmp_path / "a.bin")


def test_emi_takes_only_its_own_ser_files(tmp_path: Path) -> None:
    for name in ("scan_1.ser", "scan_2.ser", "scan_other_1.ser", "scan_b.ser"):
        write_ser(tmp_path / name, U[None], 1e-11)
    (tmp_path / "scan.emi").write_bytes(b"JE")
    assert [e.name for e in list_images(tmp_path / "scan.emi")] == ["scan_1", "scan_2"]


def test_ser_of_diffraction_patterns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="diffraction"):
        read(write_ser(tmp_path / "a_1.ser", U[None], 1e7))


@pytest.mark.parametrize("count", [1, 3])
def test_rosettasciio_agrees_on_ser(count: int, tmp_path: Path) -> None:
    from rsciio.tia import file_reader

    path = write_ser(tmp_path / "a_1.ser", MOVIE[:count], 1e-11)
    np.testing.assert_array_equal(np.asarray(read(path).data), file_reader(str(path))[0]["data"])


def test_hyperspy_spectrum_image_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hspy", "w") as file:
        write_hyperspy_layout(file, MOVIE, [1.0, 1.0, 1.0], ["", "", ""])
        for number in (0, 1):
            file[f"Experiments/HAADF/axis-{number}"].attrs["navigate"] = True
    with pytest.raises(InputError, match="spectrum"):
        read(tmp_path / "a.hspy")


def test_broken_third_party_reader_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from atomscope.io import registry

    def load() -> None:
        raise ImportError("no module named other")

    entry = types.SimpleNamespace(load=load, name="other")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])
    registry.readers.cache_clear()
    try:
        np.save(tmp_path / "a.npy", A)
        np.testing.assert_array_equal(read(tmp_path / "a.npy").frame(0), A)
        assert "other left out" in caplog.text
    finally:
        registry.readers.cache_clear()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["i1", "i2", "u2", "f4", "f2"])
def test_mrc_types_agree_with_rosettasciio(order: str, kind: str, tmp_path: Path) -> None:
    from rsciio.mrc import file_reader

    values = ramp(16, 14, "i1").astype(order + kind)
    path = write_mrc(tmp_path / "a.mrc", values, 0.2)
    image = read(path)
    np.testing.assert_array_equal(np.asarray(image.data), values)
    assert isinstance(image.data, np.memmap)
    assert image.pixel_size == pytest.approx(0.2)
    if order == "<" and kind != "f2":  # half floats and other byte orders are not read there
        # It takes mode 0 as unsigned, which the standard of 2014 made signed.
        other = np.asarray(file_reader(str(path))[0]["data"]).astype(kind)
        np.testing.assert_array_equal(other, values)


@pytest.mark.parametrize(
    "unit",
    ["1/nm", "1 / nm", "nm^{-1}", "nm^-1", "nm⁻¹", "reciprocal nm", "1/(nm)", "Å^{-1}", "mrad"],
)
def test_diffraction_patterns_are_known_by_their_units(unit: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hspy", "w") as file:
        write_hyperspy_layout(file, A, [0.05, 0.05], [unit, unit])
    with pytest.raises(InputError, match="diffraction pattern"):
        read(tmp_path / "a.hspy")


@pytest.mark.parametrize("unit", ["nm", "[n_m]", " nm ", "nanometers", "{nm}", "Nanometres"])
def test_lengths_in_other_spellings(unit: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hspy", "w") as file:
        write_hyperspy_layout(file, A, [0.01, 0.01], [unit, unit])
    assert read(tmp_path / "a.hspy").pixel_size == pytest.approx(0.1)
