"""Small writers of vendor formats, so that each reader meets a file of known content."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np


def ramp(height: int = 12, width: int = 10, dtype: Any = "f4") -> np.ndarray:
    """An image without any symmetry, so that every flip shows."""
    return (np.arange(height)[:, None] * 3 + np.arange(width) ** 2).astype(dtype)


class Dm:
    """Writes Gatan dm3 and dm4 files: a tree of tags, headers big-endian, values little-endian."""

    data_types = {"f4": 2, "u2": 10, "i2": 1, "i4": 7, "u4": 11, "u1": 6, "c8": 3}  # noqa: RUF012
    tag_types = {"f4": 6, "u2": 4, "i2": 2, "i4": 3, "u4": 5, "u1": 8, "f8": 7}  # noqa: RUF012

    def __init__(self, version: int = 4) -> None:
        self.version = version
        self.size = ">Q" if version == 4 else ">I"

    def write(
        self, path: Path, data: np.ndarray, scales: list[float], units: list[str], title: str
    ) -> Path:
        """Write one image; scales and units belong to the axes of the array, in its order."""
        steps = [
            {"Origin": np.float32(0), "Scale": np.float32(s), "Units": u}
            for s, u in zip(scales[::-1], units[::-1], strict=True)
        ]
        image = {
            "ImageData": {
                "Calibrations": {
                    "Brightness": {"Origin": np.float32(0), "Scale": np.float32(1), "Units": ""},
                    "Dimension": steps,
                },
                "Data": data,
                "DataType": np.uint32(self.data_types[data.dtype.str[1:]]),
                "Dimensions": [np.uint32(n) for n in data.shape[::-1]],
                "PixelDepth": np.uint32(data.dtype.itemsize),
            },
            "ImageTags": {"Microscope Info": {"Operation Mode": "SCANNING"}},
            "Name": title,
        }
        root = self._group({"ImageList": [image]})
        head = struct.pack(">I", self.version) + struct.pack(self.size, len(root))
        path.write_bytes(head + struct.pack(">I", 1) + root + bytes(8))
        return path

    def _group(self, content: Any) -> bytes:
        named = content.items() if isinstance(content, dict) else (("", v) for v in content)
        tags = b"".join(self._tag(name, value) for name, value in named)
        return b"\x01\x00" + struct.pack(self.size, len(content)) + tags

    def _tag(self, name: str, value: Any) -> bytes:
        nested = isinstance(value, dict | list)
        body = self._group(value) if nested else self._value(value)
        head = struct.pack(">BH", 20 if nested else 21, len(name)) + name.encode()
        return head + (struct.pack(">Q", len(body)) if self.version == 4 else b"") + body

    def _value(self, value: Any) -> bytes:
        if isinstance(value, str):
            return self._value(np.frombuffer(value.encode("utf-16-le"), "<u2"))
        array = np.asarray(value)
        kind = self.tag_types[array.dtype.str[1:]]
        info = [20, kind, array.size] if array.ndim else [kind]
        numbers = b"".join(struct.pack(self.size, n) for n in (len(info), *info))
        return b"%%%%" + numbers + array.astype(array.dtype.newbyteorder("<")).tobytes()


def write_mrc(path: Path, data: np.ndarray, angstroms: float) -> Path:
    """MRC2014: 1024 bytes of header, frames, cell size in Å; the byte order of the array."""
    frames = data[None] if data.ndim == 2 else data
    depth, height, width = frames.shape
    order = ">" if data.dtype.str[0] == ">" else "<"
    mode = {"i1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}[data.dtype.str[1:]]
    head = bytearray(1024)
    size = (width, height, depth)
    struct.pack_into(f"{order}10i", head, 0, *size, mode, 0, 0, 0, *size)
    struct.pack_into(f"{order}3f", head, 40, *(n * angstroms for n in size))
    struct.pack_into(f"{order}3f3i", head, 52, 90, 90, 90, 1, 2, 3)
    head[208:212], head[212:216] = b"MAP ", b"DD\0\0" if order == "<" else b"\x11\x11\0\0"
    path.write_bytes(bytes(head) + frames.tobytes())
    return path


def write_ser(path: Path, frames: np.ndarray, metres: float) -> Path:
    """FEI TIA series of 2-D images (version 0x0220), uint16, lowest row first."""
    count, height, width = frames.shape
    name, unit = b"Number", b"frames"
    head = struct.pack("<3H4I", 0x4949, 0x0197, 0x0220, 0x4122, 0x4152, count, count)
    axis = struct.pack("<I2dI", count, 0.0, 1.0, 0)
    axis += struct.pack("<I", len(name)) + name + struct.pack("<I", len(unit)) + unit
    one = struct.pack("<2dI2dI", 0, metres, 0, 0, metres, 0) + struct.pack("<H2I", 2, width, height)
    stamps = [struct.pack("<2HI", 0x4152, 0, 1_500_000_000 + i) for i in range(count)]
    blocks = [
        one + f[::-1].astype("<u2").tobytes() + t for f, t in zip(frames, stamps, strict=True)
    ]
    table = len(head) + 8 + 4 + len(axis)
    first = table + 16 * count
    places = [first + sum(map(len, blocks[:i])) for i in range(count)]
    tags = [p + len(b) - 8 for p, b in zip(places, blocks, strict=True)]
    offsets = struct.pack(f"<{2 * count}Q", *places, *tags)
    body = head + struct.pack("<QI", table, 1) + axis
    path.write_bytes(body + offsets + b"".join(blocks))
    return path


def write_velox(path: Path, images: dict[str, np.ndarray], metres: float) -> Path:
    """Velox EMD: one group per detector, frames last, metadata as JSON bytes."""
    with h5py.File(path, "w") as file:
        file["Version"] = np.array([json.dumps({"format": "Velox", "version": "1.11"})], "S60")
        for number, (detector, data) in enumerate(images.items()):
            group = file.create_group(f"Data/Image/{number:032x}")
            frames = np.moveaxis(data if data.ndim == 3 else data[None], 0, -1)
            group.create_dataset("Data", data=frames, chunks=(*frames.shape[:2], 1))
            metadata = _velox_metadata(detector, data.shape[-2:], metres)
            raw = np.frombuffer(json.dumps(metadata).encode().ljust(4000, b"\0"), "u1")
            group["Metadata"] = np.repeat(raw[:, None], group["Data"].shape[-1], axis=1)
    return path


def _velox_metadata(detector: str, shape: tuple[int, int], metres: float) -> dict[str, Any]:
    return {
        "Core": {"MetadataDefinitionVersion": "7.9"},
        "Instrument": {"InstrumentClass": "Titan"},
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1600000000"}},
        "Optics": {"AccelerationVoltage": "200000"},
        "Detectors": {"Detector-0": {"DetectorName": detector, "DetectorType": "ScanningDetector"}},
        "BinaryResult": {
            "Detector": detector,
            "DetectorIndex": "0",
            "PixelSize": {"width": str(metres), "height": str(metres)},
            "Offset": {"x": "0", "y": "0"},
            "PixelUnitX": "m",
            "PixelUnitY": "m",
        },
        "Scan": {"FrameTime": "2.5", "DwellTime": "1e-06", "ScanSize": {"width": shape[1]}},
    }


def write_ndata(path: Path, data: np.ndarray, steps: list[dict[str, Any]], **more: Any) -> Path:
    """Nion Swift: a zip of data.npy and metadata.json."""
    buffer = io.BytesIO()
    np.save(buffer, data)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", buffer.getvalue())
        archive.writestr("metadata.json", json.dumps({"dimensional_calibrations": steps, **more}))
    return path


def write_sxm(
    path: Path, forward: np.ndarray, backward: np.ndarray, metres: tuple[float, float], way: str
) -> Path:
    """Nanonis sxm with Z and current in both directions, as the tip saw them.

    The images are given as they lie on the surface, first row on top.
    """
    height, width = forward.shape
    header = (
        f":NANONIS_VERSION:\n2\n:SCANIT_TYPE:\n   FLOAT   MSBFIRST\n:BIAS:\n   5.000E-2\n"
        f":SCAN_PIXELS:\n   {width}   {height}\n"
        f":SCAN_RANGE:\n   {metres[1]:E}   {metres[0]:E}\n:SCAN_OFFSET:\n  0.0E+0  0.0E+0\n"
        ":ACQ_TIME:\n   1.0\n:SCAN_TIME:\n   1.0E+0   1.0E+0\n"
        f":SCAN_ANGLE:\n   0.000E+0\n:SCAN_DIR:\n{way}\n"
        ":Z-CONTROLLER:\n\tName\ton\n\tlog Current\t1\n:DATA_INFO:\n"
        "\tChannel\tName\tUnit\tDirection\tCalibration\tOffset\n"
        "\t14\tZ\tm\tboth\t1.000E-8\t0.000E+0\n"
        "\t0\tCurrent\tA\tboth\t1.000E-9\t0.000E+0\n\n:SCANIT_END:\n\n\n"
    )
    order = slice(None, None, -1) if way == "up" else slice(None)
    two = (forward[order], backward[order, ::-1])
    frames = (*two, *(1e-9 * f for f in two))
    raw = b"".join(f.astype(">f4").tobytes() for f in frames)
    path.write_bytes(header.encode() + b"\x1a\x04" + raw)
    return path


def write_createc(path: Path, topography: np.ndarray, angstroms: tuple[float, float]) -> Path:
    """Createc dat: text header, then one spare value and the frames, compressed."""
    height, width = topography.shape
    header = (
        "[Paramco32]\r\nTitel / Titel=test\r\n"
        f"Num.X / Num.X={width}\r\nNum.Y / Num.Y={height}\r\n"
        "BiasVoltage / BiasVolt.[mV]=-550.00\r\nChannels / Channels=4\r\n"
        "Channelselectval / Channelselectval=3\r\nDacto[A]z=0.5\r\n"
        f"Length x[A]={angstroms[1]}\r\nLength y[A]={angstroms[0]}\r\n"
    )
    frames = np.stack([topography / 0.5, -topography, topography / 0.5 + 1, topography])
    values = np.concatenate([[0], frames.ravel()]).astype("<f4")
    path.write_bytes(header.encode("latin-1").ljust(16380) + b"DATA" + zlib.compress(values))
    return path


def write_sm4(path: Path, heights: np.ndarray, scale: tuple[float, float]) -> Path:
    """RHK SM4 with one page of topography; signed scales (y, x) in m."""
    height, width = heights.shape
    label = "Topography"
    start = 58
    index_header = start + 12
    index_array = index_header + 16 + 12
    page_header = index_array + 32 + 24
    strings = page_header + 180 + 12
    data = strings + 2 + 2 * len(label)
    signature = "STiMage 005.004 1".ljust(18, "\0").encode("utf-16-le")
    parts = [
        struct.pack("<H", 56) + signature + struct.pack("<5I", 1, 1, 12, 0, 0),
        struct.pack("<3I", 1, index_header, 16),
        struct.pack("<4I", 1, 1, 0, 0) + struct.pack("<3I", 2, index_array, 32),
        bytes(16) + struct.pack("<4I", 0, 0, 2, 4),
        struct.pack("<6I", 3, page_header, 180, 4, data, 4 * heights.size),
        struct.pack(
            "<2H13I", 170, 1, 1, 0, 0, 0, 0, width, height, 0, 0, 0, 4 * heights.size, 0, 0
        ),
        struct.pack("<11f4I", scale[1], scale[0], 0.5, 1, 0, 0, 2.0, 0, 0.1, 1e-9, 0, 0, 0, 0, 1),
        bytes(64) + struct.pack("<3I", 10, strings, 2),
        struct.pack("<H", len(label)) + label.encode("utf-16-le"),
        heights.astype("<i4").tobytes(),
    ]
    path.write_bytes(b"".join(parts))
    return path


def write_hyperspy_layout(root: Any, data: Any, scales: list[float], units: list[str]) -> None:
    """The groups that HyperSpy writes, into an open HDF5 file or zarr group."""
    group = root.create_group("Experiments").create_group("HAADF")
    for number, (scale, unit) in enumerate(zip(scales, units, strict=True)):
        axis = group.create_group(f"axis-{number}")
        axis.attrs.update({"scale": scale, "units": unit, "offset": 0.0, "navigate": False})
    metadata = group.create_group("metadata")
    metadata.create_group("General").attrs["title"] = "HAADF"
    metadata.create_group("Signal").attrs["signal_type"] = ""
    if hasattr(group, "create_dataset") and isinstance(root, h5py.Group):
        group["data"] = data
    else:
        group.create_array("data", data=data)


def write_matrix(path: Path, traces: dict[str, np.ndarray], metres: tuple[float, float]) -> Path:
    """Omicron MATRIX: a scan 'NAME--1_1.Z_mtrx' of four traces, and its 'NAME_0001.mtrx'.

    The traces are given as they lie on the surface, first row on top, in units of 1/1000.
    """
    forward, backward = ([traces[f"{way}/up"], traces[f"{way}/down"]] for way in _MATRIX_WAYS)
    up = np.stack([forward[0][::-1], backward[0][::-1, ::-1]], axis=1)
    down = np.stack([forward[1], backward[1][:, ::-1]], axis=1)
    raw = np.concatenate([up.ravel(), down.ravel()]) * 1000
    counted = struct.pack("<20x2i", raw.size, raw.size)
    blocks = _block("CSED", counted) + _block("ATAD", np.rint(raw).astype("<i4").tobytes())
    body = struct.pack("<Q4x", 1_600_000_000) + blocks
    path.write_bytes(b"ONTMATRX0101TLKB" + struct.pack("<I", len(body) - 8) + body)
    scanner = _matrix_scanner(forward[0].shape, metres)
    channels = struct.pack("<8x2I4xI8x", 0, 1, 7) + _wide("Z") + _wide("m") + struct.pack("<I", 0)
    transfer = struct.pack("<4xI", 7) + _wide("TFF_Linear1D") + _wide("m") + struct.pack("<I", 2)
    transfer += _wide("Factor") + _matrix_value(1000.0) + _wide("Offset") + _matrix_value(0.0)
    links = bytes(4) + _block("TCID", channels) + _block("REFX", transfer)
    settings = _timed("APEE", scanner) + _timed("YSCC", links)
    settings += _timed("FERB", bytes(4) + _wide(path.name))
    beside = path.with_name(path.name.split("--")[0] + "_0001.mtrx")
    beside.write_bytes(b"ONTMATRX0101" + settings)
    return path


_MATRIX_WAYS = ("forward", "backward")


def _matrix_scanner(shape: tuple[int, int], metres: tuple[float, float]) -> bytes:
    known: dict[str, bool | int | float] = {"X_Retrace": True, "Y_Retrace": True}
    known |= {"Points": shape[1], "Lines": shape[0], "Angle": 0}
    known |= {"Width": metres[1], "Height": metres[0], "X_Offset": 0.0, "Y_Offset": 0.0}
    entries = [_wide(k) + _wide("") + bytes(4) + _matrix_value(v) for k, v in known.items()]
    head = struct.pack("<4xI", 1) + _wide("XYScanner") + struct.pack("<I", len(known))
    return head + b"".join(entries)


def _matrix_value(value: bool | int | float) -> bytes:
    if isinstance(value, bool):
        return b"LOOB" + struct.pack("<I", value)
    return (
        b"GNOL" + struct.pack("<i", value)
        if isinstance(value, int)
        else (b"BUOD" + struct.pack("<d", value))
    )


def _wide(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def _block(name: str, body: bytes) -> bytes:
    return name.encode() + struct.pack("<I", len(body)) + body


def _timed(name: str, body: bytes) -> bytes:
    return name.encode() + struct.pack("<I", len(body)) + bytes(8) + body
