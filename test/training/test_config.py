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

"""Recipes: the shipped ones read, wrong ones are refused by file, field and value."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('torch', reason='training needs torch')

from uhr_seg_ros.core.domain import Domain
from uhr_seg_ros.core.errors import TrainingError, UhrSegError
from uhr_seg_ros.core.recipe_keys import LATER_FACTS
from uhr_seg_ros.image_io.raster_bands import BandRules
from uhr_seg_ros.training.config import Data, read_config
from uhr_seg_ros.training.train_step import learning_rate

CONFIGS = Path(__file__).resolve().parents[2] / 'config' / 'train'
CONFIG = CONFIGS / 'compare_aerial.yaml'

# The published settings: steps, batch, crop and steps between validations.
PUBLISHED = {
    'cityscapes': (160000, 6, 1024, 16000),
    'deepglobe': (80000, 8, 768, 8000),
    'inria': (80000, 6, 1024, 8000),
}


def changed(folder: Path, **fields: Any) -> Path:
    """Write the shipped recipe with other values; those of ``data`` are merged."""
    content = yaml.safe_load(CONFIG.read_text())
    data = content['data'] | fields.pop('data', {})
    path = folder / 'recipe.yaml'
    path.write_text(yaml.safe_dump(content | {'data': data} | fields))
    return path


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.yaml')), ids=lambda path: path.stem)
def test_a_shipped_recipe_reads(path: Path) -> None:
    config = read_config(path)
    assert path.stem.startswith(config.training.network) or path.stem in (
        'compare_aerial',
        'fine_tune',
        'folder',
    )
    stage = config.training.options.get('stage')
    dataset, last = ('_' + path.stem).split('_')[-2:]
    is_folder = path.stem in ('fine_tune', 'folder')
    assert config.data.dataset == ('folder' if is_folder else dataset if stage else last)
    assert stage in (None, last)
    crop, network = config.training.crop, config.training.network
    height, width = config.training.crop_size
    assert crop == height == width or (network, crop) == ('deform_cityscapes', [1024, 2048])


#: Steps of an epoch, rates of the first, the 100th and the last step of the last epoch.
DEFORMED = {
    'cityscapes': (744, 125, (1e-4, 1e-5, 1e-5)),
    'deepglobe': (114, 200, (1e-4, 1e-5, 1e-6)),
}


@pytest.mark.parametrize(('name', 'expected'), DEFORMED.items())
def test_published_settings_of_learned_downsampling(
    name: str, expected: tuple[int, int, tuple[float, ...]]
) -> None:
    config = read_config(CONFIGS / f'deform_{name}.yaml')
    recipe, (epoch, epochs, rates) = config.training, expected
    assert recipe.steps == epochs * epoch and recipe.low_res_saliency_steps == 100 * epoch
    rate = partial(
        learning_rate,
        base=recipe.learning_rate,
        steps=recipe.steps,
        warmup=recipe.warmup,
        power=recipe.power,
        milestones=recipe.milestones,
    )
    assert rate(99 * epoch - 1) == rate(0)
    found = [rate(step) for step in (0, 99 * epoch, recipe.steps - 1)]
    assert found == pytest.approx(rates)
    assert (recipe.optimizer, recipe.weight_decay, recipe.mean_over) == ('adam', 1e-4, 'labeled')
    if name == 'deepglobe':
        assert recipe.loss_weights['focal'] == 1 and recipe.focal_gamma == 6
        assert recipe.class_weights[0] == recipe.loss_weights['refine'] == 0
    assert config.data.augmentation == 'deform'


@pytest.mark.parametrize(
    ('data', 'expected'),
    [
        ({'validation': 'val'}, 'aerial, split val'),
        ({'validation': 'train'}, 'aerial, split train, which was trained on'),
        ({'hold_out': 'tile6'}, 'aerial, bottom third of tile6, held out of train'),
    ],
)
def test_what_validations_are_measured_on(data: dict[str, str], expected: str) -> None:
    assert Data('aerial', 'aerial', **data).measured_on == expected


def test_what_checkpoints_did_not_tell_of_is_as_it_was() -> None:
    defaults = read_config(CONFIG).decisive()
    assert {name: defaults[name] for name in LATER_FACTS} == LATER_FACTS


def test_bands_are_those_of_the_commands(tmp_path: Path) -> None:
    for bands, stretch in (([4, 3, 2], [0, 4095]), ('4,3,2', '0,4095')):
        path = changed(tmp_path, data={'bands': bands, 'stretch': stretch})
        assert read_config(path).data.rules == BandRules((4, 3, 2), (0.0, 4095.0))
    assert not read_config(CONFIG).data.rules
    for field, value, expected in (
        ('bands', [4, 3], 'three numbers of bands from 1'),
        ('bands', [0], 'three numbers of bands from 1'),
        ('stretch', 'most', 'percentile, or'),
        ('stretch', [5, 5], 'percentile, or'),
    ):
        with pytest.raises(TrainingError, match=f'field data.{field} is .* expected {expected}'):
            read_config(changed(tmp_path, data={field: value}))


def test_former_names_of_fields_are_read(tmp_path: Path) -> None:
    content = yaml.safe_load((CONFIGS / 'hlrc_s_aerial.yaml').read_text())
    expected = read_config(CONFIGS / 'hlrc_s_aerial.yaml')
    content['average'] = content.pop('ema_decay')
    data = content['data']
    data['ignore_doubtful'] = data.pop('ignore_noisy_labels')
    data['recolour'] = data.pop('recolor')
    path = tmp_path / 'recipe.yaml'
    path.write_text(yaml.safe_dump(content))
    assert read_config(path) == expected
    path.write_text(yaml.safe_dump(content | {'ema_decay': 0.5}))
    with pytest.raises(TrainingError, match=r'recipe\.yaml: fields average and ema_decay are the'):
        read_config(path)


@pytest.mark.parametrize(('name', 'expected'), PUBLISHED.items())
def test_published_settings(name: str, expected: tuple[int, ...]) -> None:
    config = read_config(CONFIGS / f'hlrc_{name}.yaml')
    recipe = config.training
    found = (recipe.steps, recipe.batch, recipe.crop, recipe.validate_every)
    assert found == expected
    assert (recipe.learning_rate, recipe.warmup, recipe.power) == (6e-5, 1500, 1.0)
    assert (recipe.weight_decay, recipe.ema_decay, recipe.precision) == (0.01, 0, 'fp32')
    assert recipe.loss_weights == {
        'refine': 1,
        'focal': 0,
        'decode': 1,
        'auxiliary': 0.4,
        'balance': 0.01,
        'reconstruction': 0.1,
        'affinity': 1,
        'edge': 100,
        # Of PIDNet, which these networks are not.
        'boundary': 20,
        'boundary_awareness': 1,
    }
    assert config.data.augmentation == name


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('network', 'hlrc_xl'),
        ('network', ['hlrc_s']),
        ('options', 3),
        ('options', {'experts': {'many': 3}}),
        ('steps', 0),
        ('steps', 10.5),
        ('batch', 1),
        ('grad_accumulation_steps', 0),
        ('crop', 16),
        ('crop', [64]),
        ('crop', [64, 16]),
        ('milestones', [0]),
        ('focal_gamma', -1),
        ('mean_over', 'some'),
        ('low_res_saliency_steps', 1.5),
        ('checkpoint_every', 0),
        ('validate_every', 0),
        ('learning_rate', '1e-3'),
        ('learning_rate', float('nan')),
        ('power', -1),
        ('weight_decay', -1),
        ('ema_decay', True),
        ('precision', 'int8'),
        ('losses', {'dice': 1}),
        ('losses', {'refine': -1}),
        ('class_weights', [1, -1]),
        ('class_weights', {'building': 2}),
        ('seed', -1),
        ('pretrained', {'middle': 'x.pth'}),
        ('pretrained', {'semantic': 3}),
        ('export', 'first'),
        ('data.dataset', 'mars'),
        ('data.generated', 1.5),
        ('data.scenes', 0),
        ('data.ignore_larger', {'building': 0}),
        ('data.ignore_noisy_labels', 'yes'),
        ('data.recolor', {'water': 2}),
        ('data.hold_out', 6),
        ('data.train', ''),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, field: str, value: object) -> None:
    room, _, name = field.rpartition('.')
    path = changed(tmp_path, **({room: {name: value}} if room else {name: value}))
    with pytest.raises(TrainingError, match=f'field {field} is ') as error:
        read_config(path)
    assert str(path) in str(error.value)
    assert repr(value) in str(error.value)


def test_a_number_without_a_point_is_explained(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match='written with a point, as 1.0e-3'):
        read_config(changed(tmp_path, learning_rate='1e-3'))


@pytest.mark.parametrize(
    ('batch', 'grad_accumulation_steps', 'processes', 'share'),
    [(12, 1, 1, 12), (12, 3, 2, 2), (12, 5, 1, None), (12, 2, 4, None), (4, 4, 1, None)],
)
def test_how_a_batch_divides(
    tmp_path: Path, batch: int, grad_accumulation_steps: int, processes: int, share: int | None
) -> None:
    path = changed(tmp_path, batch=batch, grad_accumulation_steps=grad_accumulation_steps)
    if share is not None:
        assert read_config(path).training.share(processes) == share
        return
    parts = grad_accumulation_steps * processes
    with pytest.raises(TrainingError, match=f'field batch is {batch}, .* multiple of {parts} '):
        read_config(path).training.share(processes)


@pytest.mark.parametrize('field', ['stepz', 'data'])
def test_a_wrong_key_is_named(tmp_path: Path, field: str) -> None:
    fields = {'data': {'stepz': 3}} if field == 'data' else {'stepz': 3}
    with pytest.raises(TrainingError, match=r'unknown: (data\.)?stepz'):
        read_config(changed(tmp_path, **fields))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    content = yaml.safe_load(CONFIG.read_text())
    path = tmp_path / 'recipe.yaml'
    for field in ('steps', 'data'):
        path.write_text(yaml.safe_dump({k: v for k, v in content.items() if k != field}))
        with pytest.raises(TrainingError, match=f'fields missing: {field}'):
            read_config(path)


@pytest.mark.parametrize(
    'data', [{'validation': 'val'}, {'hold_out': None}], ids=['both', 'neither']
)
def test_there_is_one_way_to_validate(tmp_path: Path, data: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match='exactly one of validation and hold_out'):
        read_config(changed(tmp_path, data=data))


def test_a_recipe_may_say_what_its_model_is_for(tmp_path: Path) -> None:
    assert read_config(CONFIG).domain is None
    domain = {'view': 'oblique', 'trained_on': 'hills'}
    path = changed(tmp_path, domain=domain)
    assert read_config(path).domain == Domain(('oblique',), trained_on='hills')
    # Nothing that a resumed run must have in common with the interrupted one.
    assert read_config(path).decisive() == read_config(CONFIG).decisive()
    for wrong in ({'view': 'up'}, 'nadir', {'ground_resolution': -1}):
        with pytest.raises(TrainingError, match=r'recipe\.yaml: field domain'):
            read_config(changed(tmp_path, domain=wrong))


def test_wrong_augmentation_names_the_file(tmp_path: Path) -> None:
    path = changed(tmp_path, data={'augmentation': {'scale': [2, 1]}})
    with pytest.raises(UhrSegError, match=r'recipe.yaml: augmentation field scale is \[2, 1\]'):
        read_config(path)


@pytest.mark.parametrize('content', [b'', b'- a', b'a: [', b'\xff\xfe\x00', b'3'])
def test_what_is_no_recipe(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'recipe.yaml'
    path.write_bytes(content)
    with pytest.raises(TrainingError, match='recipe.yaml'):
        read_config(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match='No such file'):
        read_config(tmp_path / 'none.yaml')


def test_what_a_resumed_run_must_have_in_common(tmp_path: Path) -> None:
    shipped, other = (read_config(p).decisive() for p in (CONFIG, changed(tmp_path, seed=4)))
    assert {name for name in shipped if shipped[name] != other[name]} == {'seed'}
    started = read_config(changed(tmp_path, pretrained={'semantic': 'x.pth'}, export='best'))
    assert started.decisive() == shipped
