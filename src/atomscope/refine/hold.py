"""Fits that ran away from what the detector saw are taken back."""

from __future__ import annotations

import numpy as np
import pandas as pd

from atomscope.columns import has_flag, with_flags


def hold(fitted: pd.DataFrame, detected: pd.DataFrame, limit: float) -> pd.DataFrame:
    """Undo fits that moved a column farther than the detector can be wrong.

    A weak isolated atom has no neighbours to hold its fit: it may run to the next blob of
    the support and converge there.

    Args:
        fitted: What `refine` returned for `detected`, same rows.
        detected: The table before refinement.
        limit: Largest shift in px.

    Returns:
        The fitted table; rows beyond the limit have the detector's position, no errors, and
        the flag 'unrefined'.
    """
    table = fitted.copy()
    shift = np.hypot(table["x_px"] - detected["x_px"], table["y_px"] - detected["y_px"])
    far = np.asarray(shift > limit)
    table.loc[far, ["x_px", "y_px"]] = detected.loc[far, ["x_px", "y_px"]]
    table.loc[far, ["x_err_px", "y_err_px", "intensity_err"]] = np.nan
    table["flags"] = with_flags(table, {"unrefined": far | has_flag(table, "unrefined")})
    return table
