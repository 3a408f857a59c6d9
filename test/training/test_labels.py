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

"""What `uhr_seg train` says about labels before the first step, and where mIoU has no value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip('torch', reason='training needs torch')
pytest.importorskip('onnx', reason='the export needs onnx')

from tiny import CLASSES, config_with, log_of, scene, write_recipe

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import TrainingError
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.data.sample import ArraySample
from uhr_seg_ros.reports.training_curves import draw_curves
from uhr_seg_ros.training.config import Data
from uhr_seg_ros.training.dataloaders import build_dataloaders
from uhr_seg_ros.training.distributed import DistContext
from uhr_seg_ros.training.validation import format_figures, Validation

NAMES = ('ground', 'house', 'water')


def folder_set(root: Path, **labels: np.ndarray | tuple[int, ...]) -> Path:
    """Write a folder set of three classes: ``split_name`` -> labels, or values in stripes."""
    format_figures = [{'name': name, 'color': [0, 0, 0]} for name in NAMES]
    for name, ids in labels.items():
        split, _, stem = name.partition('_')
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        mosaic = scene(0, 96)
        if isinstance(ids, tuple):
            ids = np.resize(np.uint8(ids).repeat(12), (96, 96))
        cv2.imwrite(str(root / f'images/{split}/{stem}.png'), mosaic.image)
        cv2.imwrite(str(root / f'labels/{split}/{stem}.png'), ids)
    (root / 'classes.yaml').write_text(yaml.safe_dump({'classes': format_figures}))
    return root


def train(tmp_path: Path, root: Path, data: dict[str, Any] | None = None, **fields: Any) -> int:
    chosen = {'dataset': 'folder', 'validation': 'val', 'augmentation': 'aerial'}
    recipe = write_recipe(
        tmp_path / 'r.yaml',
        steps=1,
        validate_every=1,
        checkpoint_every=1,
        data=chosen if data is None else data,
        **fields,
    )
    command = ['train', '--config', str(recipe), '--root', str(root), '--device', 'cpu']
    return main([*command, '--output', str(tmp_path / 'run')])


@pytest.mark.parametrize(
    ('labels', 'text'),
    [
        (
            {'train_a': (0, 255), 'train_b': (0,), 'val_c': (0, 255)},
            'train/a.png, hold no value but 0 and 255, so that no pixel is labelled house, water',
        ),
        ({'train_a': (0, 1, 2), 'val_c': (0, 255)}, 'val/c.png, hold no value but 0 and 255'),
        ({'train_a': (0, 1, 2), 'val_c': (255,)}, 'val/c.png, hold no value but 255'),
        (
            {'train_a': (1, 255), 'val_c': (0, 1)},
            'training (train): all labeled pixels are house, so that there is nothing to tell',
        ),
        ({'train_a': (1,), 'val_c': (0, 1)}, 'training (train): all labeled pixels are house'),
        ({'train_a': (0, 1, 7), 'train_b': (0, 9), 'val_c': (8, 1)}, '3 files cannot be used'),
    ],
)
def test_nothing_starts_with_wrong_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: dict[str, Any], text: str
) -> None:
    assert train(tmp_path, folder_set(tmp_path / 'set', **labels)) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.glob('run/*.*'))


def test_a_part_that_is_held_out_without_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = np.resize(np.uint8([0, 1, 2]).repeat(12), (96, 96))
    ids[64:] = 255
    root = folder_set(tmp_path / 'set', train_a=ids, train_b=(0, 1, 2))
    data = {'dataset': 'folder', 'hold_out': 'a', 'augmentation': 'aerial'}
    assert train(tmp_path, root, data) == 2
    text = 'validation (part of a): no pixel of 1 image is labelled, all are ignored'
    assert text in capsys.readouterr().err


def test_what_larger_regions_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder_set(tmp_path / 'set', train_a=(0, 1, 2), val_b=(0, 1, 2))
    data = {'dataset': 'folder', 'validation': 'val', 'augmentation': 'aerial'}
    assert train(tmp_path, root, data | {'ignore_larger': dict.fromkeys(NAMES, 1)}) == 2
    assert 'training (train): no pixel of 1 image is labelled' in capsys.readouterr().err
    config = config_with(network='fast_scnn', options={})
    chosen = Data(**data, ignore_larger={'water': 1})
    build_dataloaders(replace(config, data=chosen), open_dataset('folder', root), DistContext())
    text = 'warning: training (train): no pixel is labelled water'
    assert text in capsys.readouterr().err
    # Only the first of several processes looks and speaks; none goes on without it.
    monkeypatch.setattr(DistContext, 'sum', lambda self, values: values)
    build_dataloaders(
        replace(config, data=chosen), open_dataset('folder', root), DistContext(rank=1, size=2)
    )
    assert capsys.readouterr() == ('', '')
    monkeypatch.setattr(DistContext, 'sum', lambda self, values: values + 1)
    with pytest.raises(TrainingError, match='another process found something wrong'):
        build_dataloaders(
            replace(config, data=chosen), open_dataset('folder', root), DistContext(rank=1, size=2)
        )


def test_validation_over_one_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder_set(tmp_path / 'set', train_a=(0, 1, 255), train_b=(255,), val_c=(1, 255))
    assert train(tmp_path, root, export='best') == 2
    text = "field export is 'best', expected last: no validation will have a mIoU (validation"
    assert text in capsys.readouterr().err
    assert train(tmp_path, root) == 0
    out, err = capsys.readouterr()
    for text in (
        'training (train): no pixel is labelled water',
        'training (train): 1 of 2 images are ignored throughout: b',
        'validation (val): only house is labelled, so there is no mIoU',
    ):
        assert f'warning: {text}' in err
    assert 'validation mIoU -: only house is labelled' in ' '.join(out.split())
    (entry,) = log_of(tmp_path / 'run', 'validation.jsonl')
    assert entry['mean_iou'] is None
    assert entry['classes_without_labels'] == ['ground', 'water']
    assert 'NaN' not in (tmp_path / 'run/validation.jsonl').read_text()
    assert load_bundle(tmp_path / 'run/bundle').provenance['validation']['mean_iou'] is None
    # What has no figure is never the best.
    assert not (tmp_path / 'run/best.pth').exists()
    events = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator',
        reason='the package tensorboard is not installed',
    ).EventAccumulator(str(tmp_path / 'run/tensorboard'))
    events.Reload()
    assert 'validation/mIoU' not in events.Tags()['scalars']
    assert 'validation IoU/house' in events.Tags()['scalars']


def test_a_validation_in_words() -> None:
    labels = scene(1, 80).labels.copy()
    labels[labels == 4] = 255
    network = torch.nn.Conv2d(3, 5, 1)
    network.stride = 1
    score = Validation([ArraySample('m', scene(1, 80).image, labels)], CLASSES).score(
        network, DistContext(), torch.float32
    )
    text = format_figures(score.figures(CLASSES))
    missing = [name for index, name in enumerate(CLASSES.names) if index not in labels]
    assert 'water' in missing
    assert text == f'mIoU {score.matrix.mean_iou():.3f} (without labels: {", ".join(missing)})'


def test_curves_without_a_figure(tmp_path: Path) -> None:
    pytest.importorskip('matplotlib', reason='curves need matplotlib')
    steps = [{'step': n, 'refine': 1.0, 'rate': 1e-3} for n in range(2)]
    found = [{'step': n, 'mean_iou': None, 'iou': {'a': None}} for n in range(2)]
    assert draw_curves(tmp_path / 'curves.png', steps, found)
    assert (tmp_path / 'curves.png').is_file()
