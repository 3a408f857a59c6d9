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

"""A first look at what a wrapped network says: masks and overlays, and a warning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
import sys

import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.visualization import OverlayOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.reports.class_areas import count_pixels
from uhr_seg_ros.reports.result_files import check_names, Results
from uhr_seg_ros.synthetic.scenes import generate_scene

#: Folder of masks and overlays of test images, in that of the bundle.
TEST_FOLDER = 'test_images'

# A mask with more than this share in one class is suspicious.
_ALMOST_ALL = 0.995

# Generated pictures that are looked at where nobody gives an image: their seeds and side, px.
_SEEDS, _SIDE = (1, 2), 512

# Width of a whole histogram, characters, and classes that it shows.
_BAR, _SHOWN = 40, 8


def try_pictures(bundle: Bundle, pictures: Mapping[Path, np.ndarray]) -> None:
    """
    Segment test images, write their masks and overlays, and warn if all of a mask is one class.

    Args:
        bundle: of any kind; results go into a folder in its own.
        pictures: file -> (H, W, 3) uint8 BGR; where there are none, generated ones are looked at
            and nothing is written.

    Raises:
        UhrSegError: the bundle does not run, or a file cannot be written.

    """
    results = Results(bundle.path / TEST_FOLDER)
    shares = []
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        if pictures:
            results.folder.mkdir(exist_ok=True)
            check_names(((path, path.stem) for path in pictures), results)
        for path, image in pictures.items():
            result = segmenter(image, overlay=OverlayOptions(overlay=True))
            files = results.files(path.stem, image.shape[:2])
            files.write(result.mask, result.overlay)
            print(f'{path.name}: {files.mask}, {files.overlay}')
            shares.append(_shares(result.mask, bundle))
        for seed in () if pictures else _SEEDS:
            shares.append(_shares(segmenter(generate_scene(seed, _SIDE, _SIDE)[0]).mask, bundle))
    if all(each.max() > _ALMOST_ALL for each in shares):
        what = 'test image' if pictures else 'generated picture (give an --image of your own)'
        print(_warning(bundle, np.mean(shares, axis=0), what), file=sys.stderr)


def _shares(mask: np.ndarray, bundle: Bundle) -> np.ndarray:
    """Return the share of each class."""
    return np.array(count_pixels(mask, len(bundle.classes))) / mask.size


def _warning(bundle: Bundle, shares: Sequence[float], what: str) -> str:
    order = [number for number in np.argsort(shares)[::-1][:_SHOWN] if shares[number] > 0]
    wide = max(len(bundle.classes.names[number]) for number in order)
    lines = [
        f'uhr_seg: warning: nearly all of every {what} is one class, as where the normalization '
        f'is another one than in training (mean {_numbers(bundle.mean)}, std '
        f'{_numbers(bundle.std)}, for pixels of 0 to 255), or the order of the colors',
    ]
    for number in order:
        name, share = bundle.classes.names[number], shares[number]
        lines.append(f'  {name:{wide}}  {share:6.1%}  {"#" * round(_BAR * share)}'.rstrip())
    return '\n'.join(lines)


def _numbers(values: Sequence[float]) -> str:
    return ' '.join(f'{value:g}' for value in values)
