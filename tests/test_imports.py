"""What the command line imports before an analysis."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
from atomscope.apps.imports import import_all
import_all()
import gc, inspect, sys
assert gc.isenabled() and "atomscope.pipeline" in sys.modules
assert "matplotlib" not in sys.modules and "torch" not in sys.modules
from scipy._lib._docscrape import FunctionDoc
def function(x):
    '''One line.

    Parameters
    ----------
    x : float
        A number.
    '''
assert [p.name for p in FunctionDoc(function)["Parameters"]] == ["x"]  # as scipy made it
import numpy as np
from scipy import linalg, ndimage, special
assert np.allclose(linalg.inv(np.diag([2.0, 4.0])), np.diag([0.5, 0.25]))
assert special.gammaln(4.0) == np.log(6.0)
assert ndimage.gaussian_filter(np.ones(5), 1.0).min() > 0.99
import numpy.testing
numpy.testing.assert_allclose(1.0, 1.0)
"""


def test_what_is_put_off_or_left_out_harms_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
