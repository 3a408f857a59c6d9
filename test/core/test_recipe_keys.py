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

"""Recipes that were written with former names of fields."""

from __future__ import annotations

import pytest

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.recipe_keys import with_current_facts, with_current_keys

FORMER = {
    'network': 'deform_s',
    'accumulate': 2,
    'average': 0.9,
    'starts': {'semantic': 'x.pth'},
    'data': {'ignore_doubtful': True, 'recolour': {'water': 0.5}, 'train': 'train'},
    'options': {'bent': [64, 64], 'framed': False, 'radius': 3},
}
CURRENT = {
    'network': 'deform_s',
    'grad_accumulation_steps': 2,
    'ema_decay': 0.9,
    'pretrained': {'semantic': 'x.pth'},
    'data': {'ignore_noisy_labels': True, 'recolor': {'water': 0.5}, 'train': 'train'},
    'options': {'warped_size': [64, 64], 'ignore_image_border': False, 'radius': 3},
}


def test_former_names_are_read() -> None:
    assert with_current_keys(FORMER) == CURRENT
    assert list(with_current_keys(FORMER)) == list(CURRENT)
    assert with_current_keys(CURRENT) == CURRENT
    # What is wrong stays as it is: it is refused where the fields are checked.
    assert with_current_keys({'data': 3, 'options': None}) == {'data': 3, 'options': None}


def test_what_a_checkpoint_says_of_its_recipe() -> None:
    facts = {'average': 0.9, 'data.recolour': {}, 'options': {'bent': [1, 1]}, 'classes': 5}
    assert with_current_facts(facts) == {
        # What earlier versions did, in words that they did not have.
        'data.also': {},
        'data.ignore_blocks': {},
        'data.recolor_from': 'any',
        'data.scenery': 'desert',
        'ema_decay': 0.9,
        'data.recolor': {},
        'options': {'warped_size': [1, 1]},
        'classes': 5,
    }


def test_options_of_a_users_network_are_its_own() -> None:
    options = {'options': {'bent': 1, 'framed': 2}}
    recipe = options | {'network': 'mine:build'}
    assert with_current_keys(recipe) == recipe
    assert with_current_keys(options, 'mine:build') == options
    assert with_current_keys(options, 'deform_s') != options


@pytest.mark.parametrize(
    ('recipe', 'text'),
    [
        ({'average': 1, 'ema_decay': 1}, 'fields average and ema_decay are the same'),
        ({'data': {'recolour': {}, 'recolor': {}}}, 'leave recolour out'),
        ({'options': {'bent': 1, 'warped_size': 1}}, 'leave bent out'),
    ],
)
def test_both_names_at_once(recipe: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        with_current_keys(recipe)
