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

"""Comparisons: plans, the steps of a real small one, its table."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
import json
import math
from pathlib import Path
import signal
import subprocess
import sys
from threading import Thread
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip('torch', reason='training needs torch')


from networks_of_others import PACKAGES
from tiny import scene, write_recipe

from uhr_seg_ros.cli import compare
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.comparison import running
from uhr_seg_ros.comparison.chart import chart_rows, draw_chart
from uhr_seg_ros.comparison.frame_costs import FrameCost
from uhr_seg_ros.comparison.pictures import busiest
from uhr_seg_ros.comparison.plan import merged, read_plan
from uhr_seg_ros.comparison.run_configs import check_config, write_config
from uhr_seg_ros.comparison.running import Comparison, Steps
from uhr_seg_ros.comparison.table import spread, table
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.errors import ConfigError, DataError, WriteError
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.export.pretrained import PARTS
from uhr_seg_ros.export.released import blank_network
from uhr_seg_ros.training.config import read_config

PLANS = Path(__file__).parents[2] / 'config/compare'


def write_plan(folder: Path, **changes: Any) -> Path:
    write_recipe(folder / 'base.yaml', steps=2, validate_every=9, checkpoint_every=1)
    content = {
        'base': 'base.yaml',
        'seeds': [0],
        'size': [160, 96],
        'variants': {'Fast-SCNN': None, 'its branch': {'network': 'semantic_s'}},
    }
    path = folder / 'plan.yaml'
    path.write_text(yaml.safe_dump(content | changes))
    return path


def write_set(folder: Path) -> Path:
    """Write one scene to train on, one to hold out, one to test."""
    for kind in ('images', 'labels'):
        (folder / kind).mkdir(parents=True)
    for seed, name in enumerate(('one', 'two', 'three')):
        mosaic = scene(seed, 192)
        cv2.imwrite(str(folder / f'images/{name}.jpg'), mosaic.image)
        cv2.imwrite(str(folder / f'labels/{name}.png'), mosaic.labels)
    splits = {'train': ['one', 'two'], 'test': ['three']}
    (folder / 'split.json').write_text(json.dumps(splits))
    return folder


def test_a_run_of_another_plan_is_not_taken_for_this_one(tmp_path: Path) -> None:
    before, now = (
        read_plan(write_plan(tmp_path, variants={'a': {'options': {'warped_size': bent}}}))
        for bent in ([64, 64], [128, 64])
    )
    folder = tmp_path / 'out/a/0'
    write_config(before.variants[0], 0, folder / 'config.yaml')
    (folder / 'bundle').mkdir()
    (folder / 'bundle/model.yaml').write_text('provenance: {steps: 2}')
    same, other = (
        Comparison(plan, tmp_path, 'test', tmp_path / 'out', math.inf) for plan in (before, now)
    )
    same.train(before.variants[0], 0)  # is done
    with pytest.raises(ConfigError, match=r'options was .*64, 64.* is .*128, 64'):
        other.train(now.variants[0], 0)


class _AtOnce:
    """Does what a pool of threads is given in the thread that gives it."""

    def __init__(self, jobs: int) -> None:
        assert jobs == 1

    def submit(self, function: Callable[..., None], *args: object) -> SimpleNamespace:
        return SimpleNamespace(result=partial(function, *args))

    def shutdown(self, **_: bool) -> None:
        pass


def run_here(_: Steps, args: list[str], **__: object) -> int:
    """Do in this process what a step does in its own, which takes seconds to import torch."""
    return main(args[args.index('uhr_seg_ros.cli') + 1 :])


@pytest.mark.parametrize('jobs', [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.usefixtures('hostile_folder')
def test_a_real_comparison(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    jobs: int,
) -> None:
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    # Of the processes that measure one after the other, one is as real.
    monkeypatch.setattr(running, 'PROCESSES', 1)
    if jobs == 1:
        monkeypatch.setattr(running, 'ThreadPoolExecutor', _AtOnce)
        monkeypatch.setattr(Steps, 'run', run_here)
    table = tmp_path / 'table.md'
    args = argparse.Namespace(
        plan=write_plan(tmp_path, window=96),
        root=write_set(tmp_path / 'set'),
        split='test',
        output=tmp_path / 'out',
        also=[],
        json=None,
        minutes=0.0,
        jobs=jobs,
        table=table,
        chart=None,
        pictures=None,
    )
    assert compare.run(args) == compare.UNFINISHED
    assert 'call it again' in capsys.readouterr().out
    args.minutes = math.inf
    assert compare.run(args) == compare.FINISHED
    rows, classes = (
        [[cell.strip() for cell in line.strip('|').split('|')] for line in part.splitlines()]
        for part in table.read_text().split('\n\n')
    )
    assert [row[0] for row in rows] == ['', '---', 'Fast-SCNN', 'its branch']
    assert rows[0][1] == 'mIoU' and rows[0][-4] == 'parameters'
    figures = json.loads((tmp_path / 'out/fast_scnn/0/figures.json').read_text())
    settings = figures['settings']
    assert [settings[name] for name in ('mode', 'window', 'stride')] == ['slide', 96, 96]
    assert rows[2][1] == f'{100 * figures["mean_iou"]:.1f}'
    assert rows[2][-4] == '1.1 M' and rows[3][-4] == '1.8 M'
    assert rows[2][-2].endswith(' ms') and int(rows[2][-1].removesuffix(' MB')) > 50
    assert classes[0] == ['IoU', *CLASS_SETS['aerial'].names]
    building = figures['iou']['building']
    assert classes[2][:2] == ['Fast-SCNN', '-' if building is None else f'{100 * building:.1f}']
    if jobs > 1:
        assert 'bundle:' in (tmp_path / 'out/fast_scnn/0/output.log').read_text()
    # What is done is not done again.
    bundle = tmp_path / 'out/its_branch/0/bundle/model.yaml'
    before = bundle.stat().st_mtime_ns
    args.pictures = tmp_path / 'masks.png'
    assert compare.run(args) == compare.FINISHED
    assert bundle.stat().st_mtime_ns == before
    # Image, labels and two masks, of one image: the title above, a frame of 390 px each.
    picture = cv2.imread(str(args.pictures))
    assert picture.shape == (414, 4 * 390, 3)
    masks = picture[27 : 27 + 192].reshape(192, 4, 390, 3)[:, :, 3 : 3 + 192]
    palette = {tuple(color) for color in CLASS_SETS['aerial'].palette_bgr().tolist()}
    for index in (1, 2, 3):
        assert {tuple(pixel) for pixel in masks[:, index].reshape(-1, 3).tolist()} <= palette
    args.pictures = tmp_path / 'masks.doc'
    with pytest.raises(WriteError, match='masks.doc cannot be written'):
        compare.run(args)


def test_steps_end_with_their_comparison() -> None:
    steps, codes = Steps(), []
    sleeping = [sys.executable, '-c', 'print(flush=True); input()']
    thread = Thread(
        target=lambda: codes.append(
            steps.run(sleeping, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        )
    )
    thread.start()
    while not steps._running:
        thread.join(0.01)
    steps.end()
    thread.join(30)
    assert codes == [-signal.SIGTERM]
    assert steps.run([sys.executable, '-c', '']) == -signal.SIGTERM


def test_cores_are_those_that_the_process_may_use() -> None:
    """Of the machine there may be more: in a container, or beside others."""
    package = Path(compare.__file__).parents[1]
    files = [file for file in package.rglob('*.py') if 'cpu_count' in file.read_text()]
    assert [file.name for file in files] == ['resources.py']


def test_comparison_in_a_folder_of_another_one(tmp_path: Path) -> None:
    args = argparse.Namespace(
        plan=write_plan(tmp_path),
        root=tmp_path,
        split='test',
        output=tmp_path / 'out',
        also=[],
        json=None,
        minutes=0.0,
        jobs=1,
        table=None,
        chart=None,
        pictures=None,
    )
    with lock_folder(tmp_path / 'out'), pytest.raises(WriteError, match='another run'):
        compare.run(args)


@pytest.mark.parametrize('option', ['chart', 'pictures', 'table'])
def test_pictures_that_cannot_be_are_told_before_the_work(tmp_path: Path, option: str) -> None:
    pytest.importorskip('matplotlib', reason='charts need matplotlib')
    places = dict.fromkeys(('table', 'chart', 'pictures'))
    places[option] = tmp_path if option == 'table' else tmp_path / 'picture.doc'
    args = argparse.Namespace(
        plan=write_plan(tmp_path),
        root=tmp_path,
        split='test',
        output=tmp_path / 'out',
        also=[],
        json=None,
        minutes=0.0,
        jobs=1,
        **places,
    )
    with pytest.raises((ConfigError, WriteError, OSError)):
        compare.run(args)
    assert not (tmp_path / 'out').exists()


def test_chart(tmp_path: Path) -> None:
    pytest.importorskip('matplotlib', reason='charts need matplotlib')
    plan = read_plan(write_plan(tmp_path, seeds=[0, 1]))
    comparison = Comparison(plan, tmp_path, 'test', tmp_path / 'out', math.inf)
    for number, variant in enumerate(plan.variants):
        for seed in plan.seeds:
            folder = comparison.folder(variant, seed)
            folder.mkdir(parents=True)
            score = 0.4 + 0.1 * number + 0.01 * seed
            figures = {'mean_iou': score, 'boundary_f': {'2 px': {'mean': score / 2}}}
            (folder / 'figures.json').write_text(json.dumps(figures))
        total = {'median': 100.0 + 900 * number}
        stages = {'sizes': [{'size': [96, 160], 'stage_ms': {'total': total}, 'peak_mb': 300}]}
        (tmp_path / 'out' / variant.folder / 'time.json').write_text(json.dumps(stages))
    rows = chart_rows(comparison)
    draw_chart(rows, plan.size, tmp_path / 'chart.svg')
    text = (tmp_path / 'chart.svg').read_text()
    assert text.lstrip().startswith('<?xml') and 'Fast-SCNN' in text and '160x96' in text
    draw_chart(rows, plan.size, tmp_path / 'chart.png')
    assert cv2.imread(str(tmp_path / 'chart.png')).std() > 5
    with pytest.raises(ConfigError, match='chart.doc cannot be drawn'):
        draw_chart(rows, plan.size, tmp_path / 'chart.doc')


def test_what_the_labels_lack_is_told(tmp_path: Path) -> None:
    pytest.importorskip('matplotlib', reason='charts need matplotlib')
    plan = read_plan(write_plan(tmp_path, seeds=[0, 1]))
    comparison = Comparison(plan, tmp_path, 'test', tmp_path / 'out', math.inf)
    for number, variant in enumerate(plan.variants):
        for seed in plan.seeds:
            score = None if number and seed else 0.5
            each = {'mean': score, 'recall': score}
            figures = {
                'mean_iou': score,
                'boundary_f': {'2 px': each},
                'boundary_iou': {'0.005': each},
                'object_recall': {'below 16^2': each, '16^2 to 32^2': each},
                'iou': {'road': 0.5, 'water': 0.0, 'sand': None},
                'classes_without_labels': ['water', 'sand'],
                'classes_found_without_labels': ['water'] if number else [],
            }
            folder = comparison.folder(variant, seed)
            folder.mkdir(parents=True)
            (folder / 'figures.json').write_text(json.dumps(figures))
        total = {'median': 100.0}
        stages = {'sizes': [{'size': [96, 160], 'stage_ms': {'total': total}, 'peak_mb': 300}]}
        (tmp_path / 'out' / variant.folder / 'time.json').write_text(json.dumps(stages))
    text = table(comparison, {variant.name: FrameCost(1, 1) for variant in plan.variants})
    assert '| its branch | - | - | - | - | - |' in text
    assert 'No pixel of split test is labelled water, sand. Some network finds water all' in text
    assert '- stands for a figure that at least one seed does not have.' in text
    draw_chart(chart_rows(comparison), plan.size, tmp_path / 'chart.svg')
    assert 'its branch (no figure)' in (tmp_path / 'chart.svg').read_text()


def test_busiest_place() -> None:
    labels = np.zeros((900, 1200), np.uint8)
    labels[400:600, 700:900:2] = 1
    top, left, height, width = busiest(labels)
    assert (height, width) == (384, 384)
    assert top <= 400 and top + height >= 600 and left <= 700 and left + width >= 900
    assert busiest(labels[:100, :50]) == (0, 0, 100, 50)


def test_common_changes_come_before_those_of_a_variant(tmp_path: Path) -> None:
    changes = {'common': {'steps': 7, 'losses': {'decode': 0}}, 'variants': {'a': {'steps': 8}}}
    (variant,) = read_plan(write_plan(tmp_path, **changes)).variants
    assert variant.config['steps'] == 8
    assert variant.config['losses'] == {'decode': 0}


def test_a_plan_may_use_former_names(tmp_path: Path) -> None:
    changes = {'common': {'average': 0.5}, 'variants': {'a': {'data': {'recolour': {}}}}}
    (variant,) = read_plan(write_plan(tmp_path, **changes)).variants
    assert variant.config['ema_decay'] == 0.5 and 'average' not in variant.config
    assert variant.config['data']['recolor'] == {}
    path = tmp_path / 'trained.yaml'
    trained = variant.config | {'seed': 0}
    trained['average'] = trained.pop('ema_decay')
    path.write_text(yaml.safe_dump(trained))
    check_config(variant, 0, path)
    path.write_text(yaml.safe_dump(trained | {'average': 0.4}))
    with pytest.raises(ConfigError, match=r'ema_decay was 0\.4 and is 0\.5'):
        check_config(variant, 0, path)


def test_failed_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, 'ThreadPoolExecutor', _AtOnce)
    monkeypatch.setattr(Steps, 'run', run_here)
    args = argparse.Namespace(
        plan=write_plan(tmp_path, window=96),
        root=tmp_path / 'nowhere',
        split='test',
        output=tmp_path / 'out',
        also=[],
        json=None,
        minutes=math.inf,
        jobs=1,
        table=None,
        chart=None,
        pictures=None,
    )
    with pytest.raises(ConfigError, match='exit code 2: uhr_seg train --config'):
        compare.run(args)


def test_labels_are_looked_at_before_anything_is_trained(tmp_path: Path) -> None:
    root = write_set(tmp_path / 'set')
    cv2.imwrite(str(root / 'labels/three.png'), np.full((192, 192), 9, np.uint8))
    args = argparse.Namespace(
        plan=write_plan(tmp_path),
        root=root,
        split='test',
        output=tmp_path / 'out',
        also=[],
        json=None,
        minutes=math.inf,
        jobs=1,
        table=None,
        chart=None,
        pictures=None,
    )
    with pytest.raises(DataError, match=r'three\.png holds the value 9, expected 0 to 4'):
        compare.run(args)
    args.split = 'val'
    with pytest.raises(DataError, match="no split 'val'"):
        compare.run(args)
    assert not (tmp_path / 'out').exists()


def test_variants_change_the_base(tmp_path: Path) -> None:
    base = {'a': 1, 'losses': {'refine': 2}, 'starts': {'semantic': 'x'}}
    changed = merged(base, {'a': 3, 'losses': {'decode': 0}, 'starts': {}})
    assert changed == {'a': 3, 'losses': {'refine': 2, 'decode': 0}, 'starts': {}}
    assert base['losses'] == {'refine': 2}


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'seeds': []}, 'field seeds'),
        ({'seeds': [1, 1]}, 'field seeds'),
        ({'variants': {}}, 'field variants'),
        ({'variants': {'a': None, 'A!': None}}, 'differ in letters'),
        ({'variants': {'a': 5}}, 'variants.a is 5'),
        ({'base': 'none.yaml'}, 'none.yaml'),
        ({'seeds': [True]}, 'field seeds'),
        ({'size': [5]}, 'size'),
        ({'size': [12.7, 5]}, r'size is \[12\.7, 5'),
        ({'size': [-8, 5]}, r'size is \[-8'),
        ({'common': 3}, 'common'),
        ({'colour': 1}, 'unknown colour'),
        ({'window': -1}, 'field window is -1'),
        ({'window': 'wide'}, 'field window'),
        ({'sizes': [[160, 96]]}, 'size and sizes'),
        ({'size': None, 'sizes': [160, 96]}, r'sizes is \[160, 96\], expected pairs'),
        ({'size': None, 'sizes': []}, 'sizes is'),
        ({'variants': {'a': {'elsewhere': 1}}}, 'elsewhere: 1, expected true alone'),
        ({'variants': {'a': {'elsewhere': True, 'steps': 1}}}, 'expected true alone'),
    ],
)
def test_wrong_plan(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        read_plan(write_plan(tmp_path, **changes))


def test_spread() -> None:
    assert spread([0.5]) == '50.0'
    assert spread([0.5, 0.54]) == '52.0 ± 2.8'
    assert spread([0.5, None]) == '-'


@cache  # many variants have the same network
def modules_of(name: str, options: str) -> set[str]:
    return {name for name, _ in blank_network(name, json.loads(options), 5).named_modules()}


@pytest.mark.parametrize('path', sorted(PLANS.glob('*.yaml')), ids=lambda path: path.stem)
def test_plans_of_the_package(path: Path, tmp_path: Path) -> None:
    for number, variant in enumerate(read_plan(path).variants):
        config = tmp_path / f'{number}.yaml'
        write_config(variant, 0, config)
        read = read_config(config)
        assert read.training.network == variant.config['network']
        if (needed := PACKAGES.get(read.training.network)) and find_spec(needed) is None:
            continue
        modules = modules_of(read.training.network, json.dumps(read.training.options))
        for part in read.pretrained:
            assert modules & set(PARTS[part]), (variant.name, part)
