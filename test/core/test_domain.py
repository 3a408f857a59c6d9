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

"""The domain of a bundle: read, refused, shown in a line, kept by whatever writes model.yaml."""

from __future__ import annotations

import datetime
from pathlib import Path
import shutil
from typing import Any

import pytest
from tiny_bundle import edited_model

from uhr_seg_ros.core.bundle import installed_bundles, load_bundle, peek_domain
from uhr_seg_ros.core.config_reader import Fields
from uhr_seg_ros.core.domain import Domain, DOMAINS, read_domain, VIEWS
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.export.bundle_writing import add_precision, write_bundle

NADIR = Domain(
    ('nadir',), (0.3, 1.0), 'mosaics', 'Leeds', 'May', ('night', 'snow'), {'year': 2026}
)


def read(domain: Any) -> Domain:
    return read_domain(Fields(Path('model.yaml'), {'domain': domain}, BundleError))


@pytest.mark.parametrize(
    ('content', 'domain', 'line'),
    [
        (None, Domain(), 'unknown'),
        ({}, Domain(), 'unknown'),
        ({'view': 'forward'}, Domain(('forward',)), 'forward'),
        (
            {'view': ['nadir', 'oblique'], 'ground_resolution': 0.5},
            Domain(('nadir', 'oblique'), (0.5, 0.5)),
            'nadir and oblique, 0.5 m/px',
        ),
        ({'trained_on': 'sand'}, Domain(trained_on='sand'), 'view unknown, trained on sand'),
        (
            NADIR.plain(),
            NADIR,
            'nadir, 0.3 to 1 m/px, trained on mosaics, region Leeds, season May, '
            'never shown night or snow, year: 2026',
        ),
        (dict.fromkeys(set(NADIR.plain()) - {'year'}), Domain(), 'unknown'),
        (
            {'season': 5, 'never_shown': 'fog'},
            Domain(season='5', never_shown=('fog',)),
            'view unknown, season 5, never shown fog',
        ),
    ],
)
def test_reads_keys_and_shows_a_line(content: Any, domain: Domain, line: str) -> None:
    assert (read(content), str(domain)) == (domain, line)
    assert read(domain.plain()) == domain


@pytest.mark.parametrize(
    ('content', 'named'),
    [
        ('nadir', "field domain is 'nadir', expected a mapping, such as {view: nadir}"),
        (['nadir'], 'expected a mapping'),
        (True, 'expected a mapping'),
        ({'view': 'above'}, "domain.view is 'above', expected one of nadir, oblique, forward"),
        ({'view': []}, 'domain.view is []'),
        ({'view': ['nadir', 'nadir']}, 'at most once'),
        ({'view': [['nadir']]}, "domain.view is [['nadir']]"),
        ({'view': True}, 'domain.view is True'),
        ({'view': {}}, 'domain.view is {}'),
        ({'ground_resolution': 0}, 'domain.ground_resolution is 0, expected m per px'),
        ({'ground_resolution': [1.0, 0.3]}, '[1.0, 0.3], expected m per px'),
        ({'ground_resolution': [0.3]}, 'such as [0.3, 1.0]'),
        ({'ground_resolution': '0.3 m'}, "domain.ground_resolution is '0.3 m'"),
        ({'ground_resolution': True}, 'domain.ground_resolution is True'),
        ({'ground_resolution': float('nan')}, 'domain.ground_resolution is nan'),
        ({'ground_resolution': 1e9}, 'at most 10000'),
        ({'trained_on': ['a']}, 'domain.trained_on'),
        ({'trained_on': 'a\nb'}, 'control characters'),
        ({'trained_on': 'a' * 201}, 'at most 200 characters'),
        ({'season': ['summer']}, "domain.season is ['summer'], expected a text"),
        ({'region': ''}, "domain.region is '', expected a text that is not empty"),
        ({'region': 'a\nb'}, 'without control characters'),
        ({'never_shown': []}, 'domain.never_shown is [], expected a text, or a list of up to 16'),
        ({'never_shown': ['night', 7]}, "domain.never_shown is ['night', 7]"),
        ({'never_shown': ['a'] * 17}, 'up to 16'),
        ({'seson': 'May'}, "field domain has the key 'seson': season is what is read"),
        ({'ground_resolutions': 1}, 'ground_resolution is what is read'),
        ({'year': ['2026']}, "domain.year is ['2026'], expected a text"),
        ({'season': datetime.date(2026, 5, 1)}, 'put it in quotes'),
        ({'season': True}, 'in quotes'),
        ({'season': ''}, 'a text that is not empty'),
        ({7: 'a'}, 'field domain has the key 7, expected a text: put it in quotes'),
        ({'a' * 201: 'a'}, 'at most 200 characters'),
        ({str(number): 'a' for number in range(17)}, '17 keys of its own, expected at most 16'),
    ],
)
def test_wrong_values_are_named(content: Any, named: str) -> None:
    with pytest.raises(BundleError, match='^model.yaml: ') as error:
        read(content)
    assert named in str(error.value)
    assert len(str(error.value)) < 1100


def test_the_line_is_bounded() -> None:
    notes = {f'{number:0200}': 'a' * 200 for number in range(16)}
    assert len(str(read({'trained_on': 'b' * 200, **notes}))) <= 500


def test_tells_bundles_that_are_for_other_cameras() -> None:
    assert not NADIR.misfit('b', 'nadir')
    assert not NADIR.misfit('b', 'any')
    assert not Domain(trained_on='streets').misfit('b', 'forward')
    assert not Domain(('forward', 'oblique')).misfit('b', 'oblique')
    said = NADIR.misfit('b', 'forward')
    assert 'camera_view is forward' in said
    assert f'bundle b is for other views ({NADIR})' in said
    assert all(Domain(('forward',)).misfit('b', view) for view in set(VIEWS) - {'forward'})


def test_published_domains_are_whole() -> None:
    for domain in DOMAINS.values():
        assert read(domain.plain()) == domain
        assert domain.views
        assert domain.trained_on
        assert (domain.ground_resolution is not None) == (domain.views == ('nadir',))


def test_generated_scenes_leave_a_domain_that_can_be_written() -> None:
    assert Domain().with_scenes() == Domain(trained_on='generated scenes')
    assert NADIR.with_scenes().trained_on == 'mosaics, generated scenes'
    long = Domain(trained_on='a' * 200).with_scenes()
    assert read(long.plain()) == long
    assert long.trained_on.endswith('a, generated scenes')


def test_a_further_data_set_is_told_of_and_no_longer_missed() -> None:
    domain = DOMAINS['aerial'].with_images_of(DOMAINS['fields']).with_scenes()
    assert read(domain.plain()) == domain
    assert domain.ground_resolution == (0.3, 5.0)
    assert domain.trained_on == (
        'mosaics of Dubai (MBRSC, Humans in the Loop), farmland in North Dakota (NAIP of the '
        'USDA), generated scenes'
    )
    assert domain.never_shown == ('night', 'snow', 'oblique views')
    streets = DOMAINS['aerial'].with_images_of(DOMAINS['street'])
    assert streets.views == ('nadir', 'forward') and streets.ground_resolution is None
    assert NADIR.with_images_of(Domain()).trained_on == NADIR.trained_on


def test_what_writes_model_yaml_keeps_it(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    assert load_bundle(folder).domain == Domain()
    bundle = load_bundle(folder)
    kept = ('name', 'network', 'classes', 'multiple', 'low_res_factor')
    values = {key: getattr(bundle, key) for key in kept}
    assert write_bundle(folder, kind=bundle.kind.name, domain=NADIR, **values).domain == NADIR
    added = add_precision(folder, 'int8', {'detail': 'detail.onnx'}, {})
    assert added.domain == NADIR == load_bundle(folder).domain == peek_domain(folder)
    assert set(added.precisions) == {'int8'}


def test_a_bundle_with_a_wrong_domain_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    with edited_model(folder) as content:
        content['domain'] = {'view': 'down'}
    for read_one in (load_bundle, peek_domain):
        with pytest.raises(BundleError, match="model.yaml: field domain.view is 'down'"):
            read_one(folder)


def test_shipped_model_says_what_it_is_for() -> None:
    domain = peek_domain(installed_bundles()['hlrc_s_aerial'])
    assert (domain.views, domain.ground_resolution) == (('nadir',), (0.3, 5.0))
    # As training with the recipe of the model would write it.
    assert domain == DOMAINS['aerial'].with_images_of(DOMAINS['fields']).with_scenes()
