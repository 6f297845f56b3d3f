"""Run AtomAI's `find_cycle_clusters` on coordinates; for the peers' environment.

    peers/bin/python benchmarks/clusters_peer.py JOBS.npz OUT.npz

JOBS.npz holds `cycles`, and `xy_e_i` (Å) and `species_e_i` of each frame. OUT.npz gets the points
of all clusters `points_e_i` (Å), the number of the cluster of each, `cluster_e_i`, and
`seconds_e_i`.
"""

from __future__ import annotations

import sys
import time

import numpy as np


def main() -> None:
    from atomai.utils.graphx import find_cycle_clusters

    with np.load(sys.argv[1]) as file:
        jobs = dict(file)
    cycles = [int(n) for n in jobs["cycles"]]
    out: dict[str, np.ndarray] = {}
    for name in [n for n in jobs if n.startswith("xy_")]:
        key = name.removeprefix("xy_")
        words, code = np.unique(jobs[f"species_{key}"], return_inverse=True)
        table = np.column_stack([jobs[name], code.astype(float)])
        known = {k: str(word) for k, word in enumerate(words)}
        start = time.process_time()
        found = find_cycle_clusters(table, cycles, known, px2ang=1.0)
        out[f"seconds_{key}"] = np.array(time.process_time() - start)
        points = [np.asarray(f)[:, :2] for f in found]
        out[f"points_{key}"] = np.concatenate([np.zeros((0, 2)), *points])
        out[f"cluster_{key}"] = np.repeat(np.arange(len(points)), [len(p) for p in points])
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
