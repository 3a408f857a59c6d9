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
Draw what newcomers come with: photographs, and ten labeled images of three classes.

    python -m tools.first_hour_inputs photographs photographs
    python -m tools.first_hour_inputs labeled my_images

`scripts/first_hour` calls it. Scenes are generated, so nothing is downloaded.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys

import cv2
import numpy as np
import yaml

from uhr_seg_ros.core.progress import named_steps
from uhr_seg_ros.synthetic.scenes import generate_scene

#: Height and width of a photograph, and of a labeled image, px.
PHOTOGRAPH, LABELED = (1500, 2000), (480, 640)
PHOTOGRAPHS, LABELED_IMAGES = 6, 10

#: The three classes, with the colors of overlays (RGB).
CLASSES = {'ground': (222, 196, 148), 'plants': (58, 150, 66), 'house': (214, 60, 54)}
#: Class of generated scenes (building, land, road, vegetation, water) -> class here.
OF_SCENES = np.array([2, 0, 0, 1, 0], np.uint8)


def draw_photographs(folder: Path) -> None:
    """Draw photographs from above, as JPEG files with names of a camera."""
    folder.mkdir(parents=True)
    for number in named_steps(range(PHOTOGRAPHS), 'drawing', unit='photograph'):
        image, _ = generate_scene(100 + number, *PHOTOGRAPH)
        cv2.imwrite(str(folder / f'DJI_{number + 1:04}.JPG'), image)


def draw_labeled(folder: Path) -> None:
    """Draw images and labels in the layout of `dataset: folder` (docs/data.md)."""
    for name in ('images', 'labels'):
        (folder / name).mkdir(parents=True)
    for number in named_steps(range(LABELED_IMAGES), 'drawing', unit='image'):
        image, labels = generate_scene(200 + number, *LABELED)
        cv2.imwrite(str(folder / f'images/{number:02}.png'), image)
        cv2.imwrite(str(folder / f'labels/{number:02}.png'), OF_SCENES[labels])
    classes = [{'name': name, 'color': list(color)} for name, color in CLASSES.items()]
    names = [f'{number:02}' for number in range(LABELED_IMAGES)]
    splits = {'train': names[:6], 'validation': names[6:8], 'test': names[8:]}
    content = {'classes': classes, 'splits': splits, 'domain': {'view': 'nadir'}}
    (folder / 'classes.yaml').write_text(yaml.safe_dump(content), encoding='utf-8')


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw into a folder that is not there yet."""
    kinds = {'photographs': draw_photographs, 'labeled': draw_labeled}
    parser = argparse.ArgumentParser(description='Draw what newcomers come with.')
    parser.add_argument('kind', choices=kinds)
    parser.add_argument('folder', type=Path, metavar='FOLDER')
    args = parser.parse_args(arguments)
    kinds[args.kind](args.folder)
    return 0


if __name__ == '__main__':
    sys.exit(main())
