"""Bad input: one line that tells what was given, expected and to do; never a foreign traceback."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from atomscope.errors import AtomscopeError, InputError, UsageError
from atomscope.io import input_hash, list_images, read
from io_files import (
    Dm,
    ramp,
    write_createc,
    write_hyperspy_layout,
    write_mrc,
    write_ndata,
    write_ser,
    write_sm4,
    write_sxm,
    write_velox,
)

A = ramp(32, 32)
NION = [{"scale": 0.01, "units": "nm"}] * 2


# What a refusal tells to do, and what other packages say to programmers.
TO_DO = re.compile(
    r"(?i)\b(give|copy|export|save|check|name|choose|run|resample|convert|reduce|take|select|rename)\b"
)
FOREIGN = re.compile(r"\w+(Error|Exception)\b|FFMPEG|synchronously|truncated file|errno|Traceback")


def _h5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["a"] = A
    return path


def _saved(path: Path, values: np.ndarray = A) -> Path:
    np.save(path, values)
    return path


def _hspy(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        write_hyperspy_layout(file, A, [0.01, 0.01], ["nm", "nm"])
    return path


def _npz(path: Path) -> Path:
    np.savez_compressed(path, image=A)
    return path


def _gwy(path: Path) -> Path:
    objects = pytest.importorskip("gwyfile").objects
    tree = objects.GwyContainer()
    tree["/0/data/title"] = "Z (Forward)"
    tree["/0/data"] = objects.GwyDataField(A.astype("f8"), xreal=1e-9, yreal=1e-9)
    tree.tofile(str(path))
    return path


def _jpg(path: Path) -> Path:
    iio.imwrite(path, A.astype("u1"))
    return path


def _mp4(path: Path) -> Path:
    pytest.importorskip("imageio_ffmpeg")
    iio.imwrite(path, np.kron(np.stack([A, A + 9]).astype("u1"), np.ones((2, 2), "u1")))
    return path


def _tif(path: Path) -> Path:
    tifffile.imwrite(path, A)
    return path


def _png(path: Path) -> Path:
    iio.imwrite(path, A.astype("u1"))
    return path


WHOLE: dict[str, Any] = {
    "a.dm3": lambda p: Dm(3).write(p, A, [0.01, 0.01], ["nm", "nm"], "HAADF"),
    "a.dm4": lambda p: Dm(4).write(p, A, [0.01, 0.01], ["nm", "nm"], "HAADF"),
    "a.mrc": lambda p: write_mrc(p, A, 0.1),
    "a_1.ser": lambda p: write_ser(p, A.astype("u2")[None], 1e-11),
    "a.emd": lambda p: write_velox(p, {"HAADF": A.astype("u2")}, 1e-11),
    "a.ndata": lambda p: write_ndata(p, A, NION),
    "a.sxm": lambda p: write_sxm(p, A, A, (1e-9, 1e-9), "up"),
    "a.dat": lambda p: write_createc(p, A, (3.2, 3.2)),
    "a.sm4": lambda p: write_sm4(p, A, (-1e-11, 1e-11)),
    "a.h5": _h5,
    "a.npy": _saved,
    "a.tif": _tif,
    "a.png": _png,
    "a.hspy": _hspy,
    "a.npz": _npz,
    "a.gwy": _gwy,
    "a.jpg": _jpg,
    "a.mp4": _mp4,
}


@cache
def _bytes(name: str, folder: Path) -> bytes:
    path: Path = WHOLE[name](folder / name)
    return path.read_bytes()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


def _refusal(path: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(path, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    assert re.search("xpected|Select an image", line), line
    assert TO_DO.search(line), line
    assert caught.value.exit_code == 3
    return line


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.2, 0.9])
def test_truncated(name: str, kept: float, folder: Path, tmp_path: Path) -> None:
    raw = _bytes(name, folder)
    path = tmp_path / name
    path.write_bytes(raw[: int(len(raw) * kept)])
    if kept == 0.9 and name in ("a.sxm", "a.dat", "a.png"):
        # What is cut off are other channels or the end mark: the image itself is whole.
        np.testing.assert_allclose(read(path).frame(0), A.astype("u1" if "png" in name else "f4"))
    else:
        _refusal(path)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("content", [b"a line of text\nand another\n", bytes(3000), b"\xff" * 3000])
def test_something_else_under_the_name(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert name in _refusal(tmp_path / name)


@given(
    name=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    header_only=st.booleans(),
    kept=st.floats(0.3, 1),
)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_mutated_files_raise_nothing_else(
    name: str,
    changes: list[tuple[float, int]],
    header_only: bool,
    kept: float,
    folder: Path,
    tmp_path: Path,
) -> None:
    raw = bytearray(_bytes(name, folder))
    reach = min(len(raw), 400) if header_only else len(raw)
    for place, value in changes:
        raw[int(place * reach)] = value
    path = tmp_path / name
    path.write_bytes(raw[: int(kept * len(raw))] if kept < 0.6 else raw)
    with contextlib.suppress(AtomscopeError):
        read(path).frame(0)
    with contextlib.suppress(AtomscopeError):
        list_images(path)


@given(
    number=st.integers(0, 30), place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255)
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_mutated_folders_raise_nothing_else(
    number: int, place: float, value: int, folder: Path, tmp_path: Path
) -> None:
    zarr = pytest.importorskip("zarr")
    whole, path = folder / "a.zspy", tmp_path / "a.zspy"
    if not whole.exists():
        root = zarr.open_group(str(whole), mode="w", zarr_format=2)
        write_hyperspy_layout(root, A, [0.01, 0.01], ["nm", "nm"])
    shutil.copytree(whole, path, dirs_exist_ok=True)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    chosen = files[number % len(files)]
    raw = bytearray(chosen.read_bytes())
    raw[int(place * len(raw))] = value
    chosen.write_bytes(raw if value % 3 else raw[: int(place * len(raw))])
    with contextlib.suppress(AtomscopeError):
        read(path).frame(0)
    with contextlib.suppress(AtomscopeError):
        list_images(path)


def test_missing_folder_device_and_unknown(tmp_path: Path) -> None:
    assert "no such file" in _refusal(tmp_path / "none.tif")
    assert "no such file" in _refusal("\0")
    assert "no such file" in _refusal("a" * 400)
    assert "folder" in _refusal(tmp_path)
    (tmp_path / "a.tif").mkdir()
    assert "folder" in _refusal(tmp_path / "a.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    assert "pipe" in _refusal(tmp_path / "pipe.tif")
    (tmp_path / "notes.docx").write_bytes(b"hello")
    assert "not known" in _refusal(tmp_path / "notes.docx")
    (tmp_path / "nothing").write_bytes(b"")
    assert "empty" in _refusal(tmp_path / "nothing")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = _saved(tmp_path / "a.npy")
    path.chmod(0)
    assert "permissions" in _refusal(path)


def test_what_is_no_image(tmp_path: Path) -> None:
    dm = Dm(4)
    path = dm.write(tmp_path / "d.dm4", A, [0.1, 0.1], ["1/nm", "1/nm"], "Diffraction")
    assert "diffraction pattern" in _refusal(path)
    assert "spectrum" in _refusal(dm.write(tmp_path / "s.dm4", A[0], [0.1], ["eV"], "EELS"))
    cube = np.stack([A, A, A, A, A])
    units = ["eV", "nm", "nm"]
    assert "spectrum" in _refusal(
        dm.write(tmp_path / "c.dm4", cube, [1, 0.1, 0.1], units, "EELS SI")
    )
    assert "4-D" in _refusal(_saved(tmp_path / "f.npy", np.zeros((2, 3, 8, 8))))
    assert "modulus" in _refusal(_saved(tmp_path / "c.npy", A + 1j))
    assert "profile" in _refusal(_saved(tmp_path / "p.npy", np.zeros((100, 2))))
    np.save(tmp_path / "o.npy", np.array([[{}, {}]]), allow_pickle=True)
    assert "Python objects" in _refusal(tmp_path / "o.npy")


SPEAKING = ("a.h5", "a.hspy", "a.png", "a.jpg", "a.mp4", "a.dm3", "a.dm4", "a.emd")


@pytest.mark.parametrize("name", SPEAKING)
@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_no_words_of_other_packages(name: str, kept: float, folder: Path, tmp_path: Path) -> None:
    raw = _bytes(name, folder)
    path = tmp_path / name
    path.write_bytes(raw[: int(len(raw) * kept)])
    line = _refusal(path)
    assert line.startswith(name)
    assert not FOREIGN.search(line), line


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        ((500,), "a spectrum or a profile"),
        ((1, 500), "profile or table of shape (1, 500)"),
        ((3, 3), "profile or table of shape (3, 3)"),
        ((0, 64), "an empty array of shape (0, 64)"),
        ((2, 2, 8, 8), "4-D data"),
        ((), "a single number"),
    ],
)
def test_shapes_that_are_no_image(shape: tuple[int, ...], given: str, tmp_path: Path) -> None:
    assert given in _refusal(_saved(tmp_path / "a.npy", np.zeros(shape)))


def test_reasons_in_a_list_say_what_to_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", line=A[0], dots=A[:3, :3], cube=A[None, None], wave=A * 1j)
    for entry in list_images(tmp_path / "a.npz"):
        assert TO_DO.search(entry.reason), entry.reason


def test_pictures_beyond_the_limit_of_pillow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 100)
    picture = A.astype("u1")
    np.testing.assert_array_equal(read(_png(tmp_path / "a.png")).frame(0), picture)
    Pillow.fromarray(picture).save(tmp_path / "a.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").frame(0), picture)
    assert Pillow.MAX_IMAGE_PIXELS == 100  # it belongs to the whole process


def test_a_png_of_too_many_pixels_names_its_size(tmp_path: Path) -> None:
    head = b"IHDR" + struct.pack(">2I5B", 70_000, 60_000, 8, 0, 0, 0, 0)
    raw = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    data = b"IDAT" + zlib.compress(bytes(1000))
    raw += struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    (tmp_path / "a.png").write_bytes(raw)
    assert "70000 x 60000 pixels" in _refusal(tmp_path / "a.png")


@pytest.mark.slow
def test_a_picture_of_200_million_pixels(tmp_path: Path) -> None:
    large = np.zeros((14_200, 14_100), "u1")
    large[-1, -1] = 7
    Pillow.fromarray(large).save(tmp_path / "a.png", compress_level=1)
    image = read(tmp_path / "a.png")
    assert (image.data.shape, image.data[-1, -1]) == (large.shape, 7)


def test_the_right_content_under_a_wrong_suffix_is_read(tmp_path: Path) -> None:
    shutil.copy(_saved(tmp_path / "a.npy"), tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").frame(0), A)
    shutil.copy(_tif(tmp_path / "b.tif"), tmp_path / "b.bin")
    np.testing.assert_array_equal(read(tmp_path / "b.bin").frame(0), A)


def test_coloured_photograph(tmp_path: Path, rng: np.random.Generator) -> None:
    iio.imwrite(tmp_path / "photo.png", rng.integers(0, 255, (32, 32, 3)).astype("u1"))
    assert "convert it to grey" in _refusal(tmp_path / "photo.png")
    iio.imwrite(tmp_path / "cutout.png", rng.integers(0, 255, (32, 32, 4)).astype("u1"))
    assert "convert it to grey" in _refusal(tmp_path / "cutout.png")


def test_spectra_of_nanonis_and_lone_emi(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(b"Experiment\tbias spectroscopy\r\n")
    assert "spectra" in _refusal(tmp_path / "a.dat")
    (tmp_path / "a.emi").write_bytes(b"JE" + bytes(100))
    assert "a_1.ser" in _refusal(tmp_path / "a.emi")


def test_select_that_names_nothing(tmp_path: Path) -> None:
    path = WHOLE["a.sxm"](tmp_path / "a.sxm")
    for select in (7, -1, "X", "1.5"):
        with pytest.raises(UsageError, match="Z forward"):
            read(path, select=select)
    np.savez(tmp_path / "a.npz", image=A, line=A[0])
    assert "'line' is selected" in _refusal(tmp_path / "a.npz", select="line")
    assert "HDF5" in _refusal(f"{path}::/inside")


@pytest.mark.parametrize("size", [0, -1.0, float("nan"), float("inf")])
def test_pixel_size_that_is_none(size: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="above 0"):
        read(_saved(tmp_path / "a.npy"), pixel_size=size)


def test_hash_tells_files_apart(tmp_path: Path) -> None:
    first, second = _saved(tmp_path / "a.npy"), _saved(tmp_path / "b.npy", A + 1)
    assert input_hash(first) != input_hash(second)
    assert input_hash(first) == input_hash(shutil.copy(first, tmp_path / "c.npy"))
    assert input_hash(first).startswith("sha256:")
    large = tmp_path / "large.bin"
    with large.open("wb") as stream:
        stream.truncate((1 << 30) + 1)
    assert input_hash(large).startswith("sha256-ends:")
    with pytest.raises(InputError, match="cannot be read"):
        input_hash(tmp_path / "none")
