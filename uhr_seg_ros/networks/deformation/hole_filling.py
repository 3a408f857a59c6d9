# Copyright 2026 uhr_seg_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""
Missing pixels filled from the others: from the nearest one, or linearly between three.

Source: Jin et al., "Learning to Downsample for Segmentation of Ultra-High Resolution Images",
ICLR 2022. Its configurations fill from the nearest; the released linear filling (``tri``) does
not run, here it is what it is named after.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import cKDTree, QhullError

#: Longest side of the mask in which the rim of missing pixels is looked for, px.
RIM_SIDE = 512


def fill_nearest(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """
    Return missing pixels the value of the nearest pixel of the rim, as released.

    Of pixels equally near the one is taken that SciPy's tree over *all* axes of the values finds
    first: the channels of one pixel may come from different ones.

    Args:
        values: (..., H, W).
        missing: (H, W) bool, the same in all channels.

    Returns:
        Like ``values``.
    """
    sources, holes = (np.broadcast_to(each, values.shape) for each in (rim(missing), missing))
    if not holes.any():
        return values
    _, nearest = cKDTree(np.argwhere(sources)).query(np.argwhere(holes))
    filled = values.copy()
    filled[holes] = values[sources][nearest]
    return filled


def fill_linear(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """
    Interpolate missing pixels linearly in the Delaunay triangle of known ones around them.

    Outside of all triangles the nearest known pixel counts, as with ``fill_nearest``.

    Args:
        values: (..., H, W).
        missing: (H, W) bool, the same in all channels.

    Returns:
        Like ``values``.
    """
    filled = fill_nearest(values, missing)
    try:
        interpolate = LinearNDInterpolator(np.argwhere(~missing), values[..., ~missing].T)
    except QhullError:  # known pixels on one line make no triangle
        return filled
    found = interpolate(np.argwhere(missing)).T
    filled[..., missing] = np.where(np.isnan(found), filled[..., missing], found)
    return filled


def rim(missing: np.ndarray) -> np.ndarray:
    """
    Return the pixels that missing ones are filled from: known, and below or above a missing one.

    As released this is looked up in a mask that was reduced to 512 px by leaving out rows and
    columns, and is enlarged again. Where there is no such pixel all known ones are given.

    Args:
        missing: (H, W) bool, at least one False.

    Returns:
        (H, W) bool, at least one True.
    """
    side = max(*missing.shape, RIM_SIDE)
    rows, columns = (
        _picked(length, max(length * RIM_SIDE // side, 1)) for length in missing.shape
    )
    small = np.pad(missing[np.ix_(rows, columns)], [(1, 1), (0, 0)])
    small = small[1:-1] | small[:-2] | small[2:]
    rows, columns = (
        _picked(inside, length) for inside, length in zip(small.shape, missing.shape, strict=True)
    )
    found = small[np.ix_(rows, columns)] & ~missing
    return found if found.any() else ~missing


def _picked(old: int, new: int) -> np.ndarray:
    """Return the indices that resizing an axis to the nearest takes."""
    return np.arange(new) * old // new
