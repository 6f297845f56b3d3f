"""Groups of dopants that turn together: angle in each frame, and its steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from atomscope.columns import positions
from atomscope.track.motion import Floats, Ints
from atomscope.track.states import dopant_tracks
from atomscope.track.tracking import Tracking

_BOUND = 2.1  # spacings: mean distance of atoms of one group
_RIGID = 0.2  # spacings: spread of that distance
_TOGETHER = 0.5  # share of the frames in which both must be there
_SIZE = (3, 12)  # atoms of a group
_STEP = 8.0  # degrees: smaller steps are not looked for
_SURE = 4.0  # standard deviations of a step


@dataclass(frozen=True)
class Rotor:
    """A rigid group.

    Attributes:
        tracks: Its atoms.
        frames: Frames in which two or more of them were found, shape (T,).
        angle: In degrees, from x towards y (clockwise on the screen), 0 in the first of these
            frames, unwrapped, shape (T,).
        xy: Its middle in the frame, px, shape (T, 2).
        noise: Standard deviation of an angle in degrees.
    """

    tracks: tuple[int, ...]
    frames: Ints
    angle: Floats
    xy: Floats
    noise: float

    def steps(self) -> list[tuple[int, float, float, float]]:
        """Return the steps: index of the frame, angle before and after, probability."""
        least = max(_STEP, _SURE * self.noise)
        found: list[tuple[int, float, float, float]] = []
        start, count = 0, len(self.angle)
        for t in range(1, count):
            level = float(np.median(self.angle[start:t]))
            off = self.angle[t] - level
            following = self.angle[t + 1 : t + 2] - level
            back = len(following) and following[0] * np.sign(off) < 0.4 * abs(off)
            if abs(off) < least or back:
                continue
            end = next((u for u in range(t + 1, count) if self._left(t, u, least)), count)
            after = float(np.median(self.angle[t:end]))
            sharp = max(self.noise, 0.5) * np.sqrt(1 / (t - start) + 1 / (end - t))
            p = 1 - np.exp(-0.5 * ((after - level) / sharp) ** 2)
            found.append((t, level, after, float(p)))
            start = t
        return found

    def _left(self, start: int, t: int, least: float) -> bool:
        return bool(abs(self.angle[t] - np.median(self.angle[start:t])) >= least)


def find_rotors(tracking: Tracking) -> list[Rotor]:
    """Find rigid groups of three and more dopants, and their angles."""
    if not np.isfinite(tracking.spacing):
        return []
    rows = tracking.tracks
    rows = rows[rows["track"].isin(dopant_tracks(tracking)) & rows["atom"].notna()]
    names = np.unique(rows["track"])
    if not _SIZE[0] <= len(names) or not (rows["species"] != "").any():
        return []
    frames = np.unique(rows["frame"])
    home, seen = (np.full((len(names), len(frames), 2), np.nan) for _ in range(2))
    at = np.searchsorted(names, rows["track"]), np.searchsorted(frames, rows["frame"])
    home[at] = rows[["x_ref_px", "y_ref_px"]].to_numpy(float)
    seen[at] = positions(rows)
    label = _groups(home / tracking.spacing)
    found = []
    for g in np.unique(label):
        members = np.flatnonzero(label == g)
        if _SIZE[0] <= len(members) <= _SIZE[1]:
            found.append(_rotor(names[members], frames, home[members], seen[members]))
    return found


def angles(tracking: Tracking) -> pd.DataFrame:
    """Return the angle of each rigid group in each frame: tracks, frame, angle (degrees)."""
    parts = [
        pd.DataFrame({"tracks": " ".join(map(str, r.tracks)), "frame": r.frames, "angle": r.angle})
        for r in find_rotors(tracking)
    ]
    empty = pd.DataFrame(columns=["tracks", "frame", "angle"])
    return pd.concat(parts, ignore_index=True) if parts else empty


def _groups(home: Floats) -> Ints:
    """Label tracks that stay at a fixed distance, shape (N,)."""
    n, frames = home.shape[:2]
    linked = np.zeros((n, n), dtype=bool)
    for i in range(n):
        apart = np.linalg.norm(home - home[i], axis=-1)
        common = np.isfinite(apart)
        enough = common.sum(axis=1) >= max(3, _TOGETHER * frames)
        apart = np.where(enough[:, None], apart, 0.0)
        with np.errstate(invalid="ignore"):
            mean, spread = np.nanmean(apart, axis=1), np.nanstd(apart, axis=1)
        linked[i] = enough & (mean < _BOUND) & (spread < _RIGID)
    return np.asarray(connected_components(coo_matrix(linked), directed=False)[1])


def _rotor(tracks: Ints, frames: Ints, home: Floats, seen: Floats) -> Rotor:
    z = home[..., 0] + 1j * home[..., 1]
    there = np.isfinite(z.real)
    use = np.flatnonzero(there.sum(axis=0) >= 2)
    full = use[np.argmax(there[:, use].sum(axis=0))]
    model = np.where(there[:, full], z[:, full], 0)
    angle = np.zeros(len(use))
    for _ in range(3):
        for k, t in enumerate(use):
            both = there[:, t] & (model != 0)
            a, b = z[both, t] - z[both, t].mean(), model[both] - model[both].mean()
            angle[k] = np.angle(np.sum(a * b.conj()))
        whole = there[:, use].all(axis=0)
        if whole.any():
            arms = z[:, use[whole]] - z[:, use[whole]].mean(axis=0)
            model = np.mean(arms * np.exp(-1j * angle[whole]), axis=1)
    turned = np.rad2deg(np.unwrap(angle))
    step = np.abs(np.diff(turned))
    noise = float(np.median(step)) / 0.954 if len(step) else 0.0  # |difference of two normals|
    middle = np.nanmean(seen[:, use], axis=0)
    names = tuple(int(t) for t in tracks)
    return Rotor(names, frames[use], turned - turned[:1], middle, noise)
