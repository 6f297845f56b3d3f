"""Real files: each reads with the right shape and pixel size, or is refused as the manual says."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from atomscope.errors import InputError
from atomscope.io import list_images, read

DATA = Path(os.environ.get("ATOMSCOPE_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
TABLE = DATA / "files.csv"
LINES = TABLE.read_text(encoding="utf-8").splitlines() if TABLE.is_file() else []
ROWS = list(csv.DictReader(LINES))

REFUSED = {
    "image_with_step_edge.dat": "Createc",  # plain binary without any signature
    "image_with_step_edge_and_atoms.dat": "Createc",
    "01_Si110_5images.emi": "01_Si110_5images_1.ser",
}
# The table has these from papers, names or guesses; they are not in the files.
NOT_IN_FILE = {"nrel_mxene", "atomsegnet", "gpl_atomap_sto"}
SHAPES = {
    "pycroscopy_re48": (687, 772),
    "pynsid_sto": (470, 453),
    "gpl_atomap_sto": (999, 1012),
    "hpai_pt_single_atoms": (512, 512),
    "sjeon_re_pt_molecular": (512, 512),
    "hambach_graphene_hrtem": (256, 256),
    "spym_graphite": (256, 256),
    "gpl_openncem": (1024, 1024),
    "ncomm_2023_sup4_nanoparticle.mp4": (115, 200, 232),
    "hrstem_example.ser": (1024, 1024),
    "example_Se_implanted_MoS2.dm3": (1024, 1024),
    "example_Au_nanoparticle.emd": (2048, 2048),
    "SI-HAADF.dm3": (1568, 192),
    "DMReader_Image_SI-Survey.dm3": (512, 512),
    "STM_nanonis_generic_5e.sxm": (512, 512),
    "STM_nanonis_generic_4_5.sxm": (256, 256),
    "sxm_moire_10nm.sxm": (160, 160),
    "createc_scan_step_20nm.dat": (512, 512),
    "createc_scan_atomic_11nm.dat": (512, 512),
    "STO-Ge-HAADF.jpg": (3044, 3042),
    "LaO.png": (790, 787),
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: Path(row["file"]).name[:40])
def test_every_file(row: dict[str, str], shared_data: Path) -> None:
    path = shared_data / row["set"] / row["file"]
    if path.name in REFUSED:
        with pytest.raises(InputError, match=REFUSED[path.name]):
            read(path)
        return
    image = read(path)
    expected = SHAPES.get(path.name) or SHAPES.get(row["set"])
    if expected is not None:
        assert image.data.shape == expected
    known = row["pixel_size_A"] != "unknown" and row["set"] not in NOT_IN_FILE
    size = float(row["pixel_size_A"]) if known else None
    assert image.pixel_size == (None if size is None else pytest.approx(size, rel=3e-3))
    assert "STM" not in row["modality"].split() or image.modality == "stm"
    frame = image.frame(image.n_frames - 1)
    assert np.isfinite(frame).all()
    assert frame.std() > 0
    assert any(entry.is_image for entry in list_images(path))


def test_rosettasciio_agrees_on_ser(shared_data: Path) -> None:
    from rsciio.tia import file_reader

    for name in ("gpl_openncem/16_STOimage_1.ser", "gpl_tk_r_em/hrstem_example.ser"):
        other = file_reader(str(shared_data / name))[0]
        ours = read(shared_data / name)
        np.testing.assert_array_equal(np.asarray(ours.data), other["data"])
        assert ours.pixel_size == pytest.approx(10 * other["axes"][1]["scale"])


def test_the_same_image_in_two_formats(shared_data: Path) -> None:
    folder = shared_data / "hambach_graphene_hrtem"
    for name in ("graphene_flower_raw", "graphene_flower_filtered"):
        one, other = read(folder / f"{name}.dm3"), read(folder / f"{name}.tif")
        np.testing.assert_array_equal(one.frame(0), other.frame(0))


@pytest.mark.parametrize(
    "name",
    [
        "pynxtools_stm/STM_nanonis_generic_4_5.sxm",
        "createc_stm/sxm_moire_10nm.sxm",
        "createc_stm/createc_scan_atomic_11nm.dat",
        "spym_graphite/dI-dV_9K_ABC6_2020_07_02_08_50_47_967.sm4",
    ],
)
def test_forward_and_backward_show_the_same_side(name: str, shared_data: Path) -> None:
    path = shared_data / name
    forward = next(e.name for e in list_images(path) if e.name.casefold() in _TOPOGRAPHY)
    backward = forward.replace("forward", "backward")
    one, two = (_flat(read(path, select=n).frame(0)) for n in (forward, backward))
    right = np.corrcoef(one.ravel(), two.ravel())[0, 1]
    mirrored = np.corrcoef(one.ravel(), two[:, ::-1].ravel())[0, 1]
    assert right > mirrored + 0.1


_TOPOGRAPHY = {"z forward", "topography forward"}


def _flat(image: np.ndarray) -> np.ndarray:
    """Subtract each row's straight line."""
    x = np.linspace(-1, 1, image.shape[1])
    rows = image - image.mean(axis=1, keepdims=True)
    return rows - (rows @ x / (x @ x))[:, None] * x


def test_nanonispy2_agrees_on_real_scans(shared_data: Path) -> None:
    nanonispy2 = pytest.importorskip("nanonispy2")
    for name in ("pynxtools_stm/STM_nanonis_generic_4_5.sxm", "createc_stm/sxm_moire_10nm.sxm"):
        scan = nanonispy2.read.Scan(str(shared_data / name))
        ours = read(shared_data / name, select="Z forward").frame(0)
        np.testing.assert_array_equal(ours, scan.signals["Z"]["forward"])
