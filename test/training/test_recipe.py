# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Recipes: the shipped one reads, wrong ones are refused by file, field and value."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytest.importorskip('torch', reason='training needs torch')

from uhr_seg_ros.training.recipe import read_config, TrainingError  # noqa: E402

CONFIG = Path(__file__).resolve().parents[2] / 'config' / 'train' / 'hlrc_s_aerial.yaml'


def changed(folder: Path, **fields: object) -> Path:
    path = folder / 'recipe.yaml'
    content = yaml.safe_load(CONFIG.read_text()) | fields
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_shipped_recipe_reads() -> None:
    config = read_config(CONFIG)
    assert config.recipe.network == 'hlrc_s'
    assert len(config.classes) == config.recipe.classes == 5


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('network', 'hlrc_xl'),
        ('network', ['hlrc_s']),
        ('class_set', 'mars'),
        ('steps', 0),
        ('steps', 10.5),
        ('batch', 1),
        ('crop', 50),
        ('crop', 16),
        ('checkpoint_every', 0),
        ('learning_rate', '1e-3'),
        ('learning_rate', float('nan')),
        ('weight_decay', -1),
        ('generated', 1.5),
        ('average', True),
        ('seed', -1),
        ('scenes', 0),
        ('validate', 6),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, field: str, value: object) -> None:
    path = changed(tmp_path, **{field: value})
    with pytest.raises(TrainingError, match=f'field {field} is ') as error:
        read_config(path)
    assert str(path) in str(error.value)
    assert repr(value) in str(error.value)


def test_a_wrong_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match='stepz'):
        read_config(changed(tmp_path, stepz=3))


@pytest.mark.parametrize('content', [b'', b'- a', b'a: [', b'\xff\xfe\x00', b'3'])
def test_what_is_no_recipe(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / 'recipe.yaml'
    path.write_bytes(content)
    with pytest.raises(TrainingError, match='recipe.yaml'):
        read_config(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match='No such file'):
        read_config(tmp_path / 'none.yaml')
