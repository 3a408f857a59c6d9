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

"""Write pictures of documents as PNG files of a palette, a fifth of the size of true color."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def write_small_png(picture: np.ndarray, path: Path, colors: int = 128) -> None:
    """Write (H, W, 3) uint8 BGR with the colors that suit it best, without dithering."""
    whole = Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    whole.quantize(colors, dither=Image.Dither.NONE).save(path, optimize=True)
