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
"""Leaving one ground out: what is trained on, what is measured, and the table."""

from __future__ import annotations

from itertools import pairwise
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip('torch', reason='training needs torch')

from tiny import scene, write_recipe

from uhr_seg_ros.cli import compare
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.comparison import running
from uhr_seg_ros.comparison.frame_costs import FrameCost
from uhr_seg_ros.comparison.grounds import check_grounds, LeaveOneGroundOut
from uhr_seg_ros.comparison.grounds_table import grounds_table
from uhr_seg_ros.comparison.plan import read_plan
from uhr_seg_ros.comparison.running import Steps
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.intervals import PROCESSES
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.evaluation.object_recall import BINS
from uhr_seg_ros.training.config import read_config

PLANS = Path(__file__).parents[2] / 'config/compare'


def write_plan(folder: Path, **changes: Any) -> Path:
    write_recipe(folder / 'base.yaml', steps=1, validate_every=9, checkpoint_every=9)
    content = {
        'base': 'base.yaml',
        'seeds': [0],
        'size': [160, 96],
        'grounds': {'one': None, 'two': 'two'},
        'also': {'fields': 'even'},
        'variants': {'plain': None},
    }
    path = folder / 'plan.yaml'
    path.write_text(yaml.safe_dump(content | changes))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One mosaic to train on and one to test, and a summer of farmland."""
    for folder, names, suffix in (
        ('set', ('one', 'two'), 'jpg'),
        ('fields', ('fields_2010',), 'png'),
    ):
        for kind in ('images', 'labels'):
            (tmp_path / folder / kind).mkdir(parents=True)
        for seed, name in enumerate(names):
            mosaic = scene(seed, 96)
            cv2.imwrite(str(tmp_path / folder / f'images/{name}.{suffix}'), mosaic.image)
            cv2.imwrite(str(tmp_path / folder / f'labels/{name}.png'), mosaic.labels)
    (tmp_path / 'set/split.json').write_text(json.dumps({'train': ['one'], 'test': ['two']}))
    return tmp_path


class Called:
    """Writes what training and evaluation write, at once, and keeps what they were told."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []

    def run(self, args: list[str], **_: object) -> int:
        words = [str(word) for word in args[args.index('uhr_seg_ros.cli') + 1 :]]
        self.commands.append(words)
        told = dict(zip(words[1::2], words[2::2], strict=False))
        if words[0] == 'train':
            bundle = Path(told['--output-bundle']) / 'model.yaml'
            bundle.parent.mkdir()
            bundle.write_text('provenance: {}\n')
            return 0
        if words[0] == 'benchmark':
            self._take_time(words)
            return 0
        pixels = 10 * len(self.commands)
        names = CLASS_SETS['aerial'].names
        content = {
            'iou': dict.fromkeys(names, 0.5),
            'mean_iou': pixels / 1000,
            'boundary_f': {'2 px': {'mean': None}},
            'recall': dict.fromkeys(names, 0.5),
            'object_recall': {
                size: {'recall': 0.5, 'classes': {}, 'objects_by_class': {'building': 0}}
                for size in BINS
            },
            # Of 100 px of land, so many are called a building.
            'confusion': [[0] * 5, [pixels, 100 - pixels, 0, 0, 0], *[[0] * 5] * 3],
        }
        Path(told['--json']).write_text(json.dumps(content))
        return 0

    def _take_time(self, words: list[str]) -> None:
        given = [word for before, word in pairwise(words) if before == '--size']
        (path,) = (Path(word) for before, word in pairwise(words) if before == '--json')
        total = {'median': 90.0 + 6 * int(path.stem)}
        sizes = [
            {
                'size': [int(side) for side in reversed(each.split('x'))],
                'stage_ms': {'total': total},
                'peak_mb': 300,
            }
            for each in given
        ]
        path.write_text(json.dumps({'sizes': sizes}))


def test_a_plan_that_takes_times(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called = Called()
    monkeypatch.setattr(Steps, 'run', lambda _, **child: called.run(**child))
    monkeypatch.setattr(compare, 'frame_cost', lambda *_: FrameCost(1_000_000, 2_000_000_000))
    variants = {
        'plain': None,
        'started': {'pretrained': {'semantic': 'folder/imagenet.pth'}},
        'theirs': {'elsewhere': True},
    }
    sizes = [[160, 96], [320, 192]]
    plan = write_plan(root, size=None, sizes=sizes, also={}, variants=variants)
    args = ['compare', '--plan', str(plan), '--root', str(root / 'set')]
    args += ['--output', str(root / 'out'), '--minutes', '5', '--json', str(root / 'a.json')]
    last = 4 + 2 * PROCESSES + 1
    with monkeypatch.context() as late:
        # The time is over when the first variant is trained without the second ground.
        late.setattr(running, 'monotonic', lambda: np.inf if len(called.commands) > last else 0.0)
        assert main(args) == 1
    # All variants without one ground, then the times of these networks.
    of_ground = ['train', 'evaluate'] * 2
    assert [words[0] for words in called.commands] == [
        *of_ground,
        *['benchmark'] * (2 * PROCESSES),
        *of_ground[:2],
    ]
    said = capsys.readouterr().out
    assert f'theirs, seed 0, is left out: no bundle in {root / "out/one/theirs/0/bundle"}' in said
    # What only one variant has is not in the table yet.
    assert '| plain | 1 | 2.0 |' in said and 'call it again' in said
    assert main(args) == 0
    said = capsys.readouterr().out
    assert (
        '| plain | random | 1.0 M | 2.0 G | 105 [90, 120] ms | 105 [90, 120] ms | 300 MB |' in said
    )
    assert '| started | semantic: imagenet.pth | 1.0 M |' in said
    assert '| theirs | trained elsewhere | - | - | - | - | - |' in said
    assert 'Missing: theirs.' in said and 'compared on 2 of the 6 runs' in said
    content = json.loads((root / 'a.json').read_text())
    assert content['times']['plain']['320x192']['high'] == 120.0
    assert content['costs']['started'] == {'parameters': 1_000_000, 'multiply_adds': 2_000_000_000}
    assert [len(each['runs']) for each in content['variants'].values()] == [2, 2, 0]
    # A bundle that was laid there counts; what was taken of other sizes does not.
    (root / 'out/one/theirs/0/bundle').mkdir(parents=True)
    (root / 'out/one/plain/time/0.json').write_text('{"sizes": []}')
    assert main(args) != 0
    assert 'has no time of 160x96, 320x192' in capsys.readouterr().err
    assert (root / 'out/one/theirs/0/figures.json').is_file()
    assert (root / 'out/one/theirs/time/0.json').is_file()


def test_a_plan(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called = Called()
    monkeypatch.setattr(Steps, 'run', lambda _, **child: called.run(**child))
    out, report = root / 'out', root / 'grounds.json'
    further = {'also': {'fields': {'split': 'odd', 'share': 0.5}}}
    plan = write_plan(root, variants={'plain': {'data': further}})
    args = ['compare', '--plan', str(plan), '--root', str(root / 'set')]
    args += ['--also', f'fields={root / "fields"}', '--output', str(out), '--json', str(report)]
    assert main(args) == 0
    assert [words[0] for words in called.commands] == ['train', 'evaluate', 'evaluate'] * 2
    for words, ground, measured in (
        (called.commands[0], 'one', 'ground=one'),
        (called.commands[3], 'two', 'image=two'),
    ):
        assert words[-2:] == ['--also', f'fields={root / "fields"}']
        data = read_config(Path(words[words.index('--config') + 1])).data
        assert (data.train, data.validation) == (f'ground!={ground}', measured)
    assert [
        words[words.index('--split') + 1] for words in called.commands if '--split' in words
    ] == [
        'ground=one',
        'even',
        'image=two',
        'even',
    ]
    content = json.loads(report.read_text())
    assert content['commit'] and content['plan'] == 'plan.yaml'
    variant = content['variants']['plain']
    assert [each['ground'] for each in variant['runs']] == ['one', 'two']
    summary = variant['summary']['mIoU']
    assert (summary['mean'], summary['runs']) == (pytest.approx((0.02 + 0.05) / 2), 2)
    assert summary['deviation'] == pytest.approx(np.std([0.02, 0.05], ddof=1))
    figures = [each['figures'] for each in variant['runs']]
    assert [each['land called building'] for each in figures] == pytest.approx([0.2, 0.5])
    assert [each['fields: land called building'] for each in figures] == pytest.approx([0.3, 0.6])
    assert '| mIoU without | one | two |' in capsys.readouterr().out
    assert main(args) == 0  # what is done is not done again
    assert len(called.commands) == 6


def run_here(_: Steps, args: list[str], **__: object) -> int:
    """Do in this process what a step does in its own, which takes seconds to import torch."""
    return main(args[args.index('uhr_seg_ros.cli') + 1 :])


@pytest.mark.slow
def test_a_real_plan(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow: two trainings and exports, which `test_comparison` has for the same steps."""
    monkeypatch.setattr(Steps, 'run', run_here)
    args = ['compare', '--plan', str(write_plan(root)), '--root', str(root / 'set')]
    args += ['--also', f'fields={root / "fields"}', '--output', str(root / 'out')]
    assert main(args) == 0
    for ground, measured in (('one', 'ground=one'), ('two', 'image=two')):
        figures = json.loads((root / 'out' / ground / 'plain/0/figures.json').read_text())
        assert (figures['split'], figures['images']) == (measured, [ground])


def test_grounds_have_to_be_all_of_the_set(root: Path) -> None:
    """A ground that the plan forgets would be trained on and never be left out."""
    dataset = open_dataset('aerial', root / 'set')
    check_grounds(read_plan(write_plan(root)), dataset)
    plan = read_plan(write_plan(root, grounds={'one': None, 'three': None}))
    with pytest.raises(ConfigError, match=r'grounds has one, three, expected all of one, two'):
        check_grounds(plan, dataset)


def test_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for changes, text in (
        ({'grounds': {'one': None}}, 'at least two'),
        ({'grounds': {'one': 3, 'two': None}}, "field grounds has 'one': 3"),
        ({'grounds': {}, 'also': {'fields': None}}, "field also has 'fields'"),
    ):
        with pytest.raises(ConfigError, match=text):
            read_plan(write_plan(root, **changes))
    args = ['compare', '--plan', str(write_plan(root)), '--root', str(root / 'set')]
    args += ['--output', str(root / 'out')]
    assert main(args) != 0
    assert 'add --also fields=FOLDER' in capsys.readouterr().err
    also = ['--also', f'fields={root / "fields"}']
    assert main([*args, *also, '--chart', str(root / 'a.svg')]) != 0
    assert '--chart' in capsys.readouterr().err


def test_shipped_plan_leaves_every_ground_out_of_every_variant(tmp_path: Path) -> None:
    plan = read_plan(PLANS / 'grounds.yaml')
    assert set(plan.grounds) == {'tile7', 'tile6', 'tile2', 'tile5'}
    assert plan.grounds['tile7'] == 'image=tile4'
    left_out = LeaveOneGroundOut(plan, tmp_path, tmp_path / 'out', math.inf)
    for variant in plan.variants:
        for ground in plan.grounds:
            (own,) = left_out.of(ground, variant, 0).plan.variants
            data = own.config['data']
            assert (data['train'], data['validation']) == (
                f'ground!={ground}',
                plan.grounds[ground],
            )
            # Farmland is looked at on even years.
            assert all(each['split'] == 'odd' for each in data.get('also', {}).values())
    assert left_out.done() == f'0 of {4 * len(plan.variants)} runs are done, ' + (
        f'the same command goes on: {tmp_path / "out"}'
    )


def test_a_table_of_runs_that_are_missing() -> None:
    runs = [{'ground': 'one', 'seed': 0, 'figures': {'mIoU': 0.5, 'x': None}}]
    variants = {'a': {'summary': {'mIoU': {}, 'x': {}}, 'runs': runs}}
    text = grounds_table({'grounds': {'one': '', 'two': ''}, 'variants': variants})
    assert '| a | 1 | 50.0 | - |\n' in text
    assert text.endswith('| a | 50.0 | - |\n')
