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

"""One recipe for any folder: what it leaves to the data set is chosen by that."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('torch', reason='training needs torch')

from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.training.config import Config, read_config
from uhr_seg_ros.training.fitting import fitted

RECIPE = Path(__file__).resolve().parents[2] / 'config/train/folder.yaml'


def write_folder(root: Path, labels: dict[str, np.ndarray], domain: str = '') -> Path:
    """Write images and labels by their names, which may begin with a split."""
    names = 'sand', 'field', 'pond', 'moss'
    classes = ', '.join(
        f'{{name: {name}, color: [{9 * n}, 0, 0]}}' for n, name in enumerate(names)
    )
    for name, values in labels.items():
        for kind in ('images', 'labels'):
            path = root / kind / f'{name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = np.full((*values.shape, 3), 90, np.uint8) if kind == 'images' else values
            assert cv2.imwrite(str(path), picture)
    (root / 'classes.yaml').write_text(f'classes: [{classes}]\n{domain}')
    return root


def fit(root: Path) -> Config:
    return fitted(read_config(RECIPE), open_dataset('folder', root))


def test_a_folder_without_splits(tmp_path: Path) -> None:
    plain, mixed = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    mixed[:4] = 1
    mixed[-1, :8] = 2
    config = fit(write_folder(tmp_path, {'a': plain, 'b': mixed}))
    assert (config.data.train, config.data.validation, config.data.hold_out) == ('all', None, 'b')
    # 3032, 160, 8 px; moss is not labeled.
    weights = [round(float(np.clip((160 / n) ** 0.5, 0.5, 3)), 2) for n in (3032, 160, 8)]
    assert config.training.class_weights == [*weights, 1.0] == [0.5, 1.0, 3.0, 1.0]
    # Of a view that is not said, up stays up.
    assert config.data.augmentation == {'preset': 'aerial', 'symmetries': False, 'flip': 0.5}


def test_a_folder_with_splits_from_above(tmp_path: Path) -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[20:] = 1
    root = write_folder(
        tmp_path, {'train/a': labels, 'val/b': 1 - labels}, 'domain: {view: nadir}\n'
    )
    config = fit(root)
    assert (config.data.train, config.data.validation, config.data.hold_out) == (
        'train',
        'val',
        None,
    )
    assert config.data.augmentation == 'aerial_strong'
    assert config.training.class_weights == [1.0, 1.0, 1.0, 1.0]
    # What is chosen is what a resumed run has to have in common.
    assert config.decisive()['class_weights'] == [1.0, 1.0, 1.0, 1.0]


def test_splits_of_other_names_are_listed(tmp_path: Path) -> None:
    labels = np.zeros((40, 40), np.uint8)
    root = write_folder(tmp_path, {'north/a': labels, 'south/b': labels})
    with pytest.raises(TrainingError, match=r"data.train is 'auto', expected .*: north, south"):
        fit(root)


def test_efforts_replace_fields(tmp_path: Path) -> None:
    plain, evening = read_config(RECIPE), read_config(RECIPE, 'evening')
    assert read_config(RECIPE, 'laptop') == plain
    assert evening.training.steps > 20 * plain.training.steps
    assert evening.data == plain.data
    with pytest.raises(TrainingError, match="no effort 'night': laptop, evening, gpu"):
        read_config(RECIPE, 'night')
