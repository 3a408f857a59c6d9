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

"""What a checkpoint is converted as: its own word, the command line's, or a refusal of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

torch = pytest.importorskip('torch', reason='checkpoints are read by torch')

from logged import logged

from uhr_seg_ros.core.classes import CLASS_SETS, ClassSet
from uhr_seg_ros.core.domain import Domain, DOMAINS
from uhr_seg_ros.core.errors import CheckpointError, ConfigError
from uhr_seg_ros.export.checkpoints import Checkpoint, open_checkpoint
from uhr_seg_ros.export.convert import resolve_description
from uhr_seg_ros.export.description import (
    ConversionRequest,
    Description,
    KEY,
    read_description,
)
from uhr_seg_ros.export.hlrc_checkpoints import published_shapes
from uhr_seg_ros.export.option_values import parse_classes, parse_domain, parse_options
from uhr_seg_ros.export.released import blank_network, RELEASED
from uhr_seg_ros.networks.backbones.base import classifier_layers
from uhr_seg_ros.networks.presets import NETWORKS, options_of

OWN = ClassSet(('roof', 'lawn', 'pool'), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
OTHERS = ClassSet(('roof', 'pool', 'lawn'), ((1, 2, 3), (7, 8, 9), (4, 5, 6)))
BENT = Description('deform_s', options_of('deform_s', {'warped_size': (64, 64)}), OWN)


def own(**fields: Any) -> Checkpoint:
    """Make a checkpoint with the names of training and three classes."""
    tensors = {'body.classify.3.bias': torch.zeros(3), 'body.classify.3.weight': torch.zeros(3, 1)}
    content = {'description': None, 'decisive': None} | fields
    return Checkpoint(Path('last.pth'), tensors, **content)


def earlier(**fields: Any) -> Checkpoint:
    """Make one as training wrote it before there were descriptions."""
    decisive = {'network': 'deform_s', 'options': {'warped_size': [64, 64]}, 'classes': 3}
    return own(decisive=decisive | {'data.dataset': 'folder'} | fields)


def told(
    weights: Any,
    wanted: ConversionRequest = ConversionRequest(),  # noqa: B008 - it cannot change
) -> tuple[Description, str]:
    with logged() as lines:
        resolved = resolve_description(weights, wanted)
    return resolved.description, ''.join(lines)


def test_what_training_writes_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / 'best.pth'
    torch.save({'state_dict': {'a': torch.zeros(1)}, KEY: BENT.plain()}, path)
    found = open_checkpoint(path)
    assert found.description == BENT
    assert found.description.options['radius'] == 8  # a default, as it was then
    network = blank_network(BENT.network, found.description.options, 3)
    assert (network.warped_size, network.classes) == ((64, 64), 3)
    assert told(found) == (BENT, '')


@pytest.mark.parametrize('network', NETWORKS)
def test_all_options_are_plain(network: str) -> None:
    options = options_of(network, {})
    assert yaml.safe_load(yaml.safe_dump(options)) == options


@pytest.mark.parametrize('network', ['hlrc_s', 'fast_scnn', 'fctl_inria', 'fctl', 'fctl_s'])
def test_last_layers_are_those_that_grow_with_the_classes(network: str) -> None:
    options = options_of(network, {})
    built, wider = (blank_network(network, options, n) for n in (5, 6))
    one = built.state_dict()
    grown = {n for n, value in wider.state_dict().items() if value.shape != one[n].shape}
    layers = tuple(f'{name}.' for name in classifier_layers(built))
    last = {name for name in one if name.startswith(layers)}
    assert last == grown != set()


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'format': 2}, 'has format 2, this version reads 1'),
        ({'format': '1'}, "field format is '1'"),
        ({'network': 'hlrc_moon'}, "unknown network 'hlrc_moon'"),
        ({'network': None}, 'field network is missing'),
        ({'options': {'depth': 3}}, 'deform_s has no option depth'),
        ({'options': {'warped_size': {}}}, r'with warped_size \{\}: expected plain'),
        ({'classes': [{'name': 'a'}]}, 'field classes'),
        ({'classes': []}, 'field classes|1 to'),
    ],
)
def test_a_description_that_is_wrong(change: dict[str, Any], text: str, tmp_path: Path) -> None:
    path = tmp_path / 'best.pth'
    torch.save({'state_dict': {'a': torch.zeros(1)}, KEY: BENT.plain() | change}, path)
    with pytest.raises(CheckpointError, match=text) as error:
        open_checkpoint(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ('wanted', 'text'),
    [
        (ConversionRequest('fast_scnn'), 'trained as deform_s, --network says fast_scnn'),
        (
            ConversionRequest(options={'warped_size': [256, 256]}),
            r'trained with warped_size \[64, 64\], --options says \[256, 256\]',
        ),
        (
            ConversionRequest(options={'size': [32, 32]}),
            r'trained with size \[64, 64\], --options says',
        ),
    ],
)
@pytest.mark.parametrize('checkpoint', [own(description=BENT), earlier()])
def test_contradictions(checkpoint: Checkpoint, wanted: ConversionRequest, text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        told(checkpoint, wanted)


@pytest.mark.parametrize(
    ('classes', 'text'),
    [
        (OTHERS, "trained for class 1 'lawn', --classes says class 1 'pool'"),
        (CLASS_SETS['inria'], r'3 classes \(roof, lawn, pool\), --classes says 2 classes'),
    ],
)
def test_contradicting_classes(classes: ClassSet, text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        told(own(description=BENT), ConversionRequest(classes=classes))


def test_what_agrees_is_no_contradiction() -> None:
    colors = ClassSet(OWN.names, ((0, 0, 0),) * 3)
    wanted = ConversionRequest('deform_s', {'warped_size': [64, 64], 'radius': 8}, colors)
    assert told(own(description=BENT), wanted)[0].classes == colors
    with pytest.raises(ConfigError, match='deform_s has no option side'):
        told(own(description=BENT), ConversionRequest(options={'side': 3}))


def test_an_earlier_training_does_not_name_its_classes() -> None:
    with pytest.raises(CheckpointError, match=r"earlier version.*3 classes.*'folder'.*--classes"):
        told(earlier())
    with pytest.raises(CheckpointError, match='3 classes, --classes names 2'):
        told(earlier(), ConversionRequest(classes=CLASS_SETS['inria']))
    assert told(earlier(), ConversionRequest(classes=OWN)) == (BENT, '')
    found, line = told(earlier(**{'data.dataset': 'inria', 'classes': 2}))
    assert found.classes == CLASS_SETS['inria']
    assert 'classes of inria taken from the data set' in line
    with pytest.raises(CheckpointError, match='--classes'):
        told(earlier(**{'data.dataset': 'inria'}))  # of other classes than it has now


def test_our_names_alone_say_nothing_about_classes() -> None:
    with pytest.raises(CheckpointError, match='does not say what it was trained as'):
        told(own())
    with pytest.raises(CheckpointError, match='does not name its 3 classes: .*--classes'):
        told(own(), ConversionRequest('fast_scnn'))
    with pytest.raises(CheckpointError, match='3 classes, --classes names 2'):
        told(own(), ConversionRequest('fast_scnn', classes=CLASS_SETS['inria']))
    assert told(own(), ConversionRequest('fast_scnn', classes=OWN))[0] == Description(
        'fast_scnn', {}, OWN
    )


def published(classes: int) -> Checkpoint:
    network = blank_network('hlrc_inria', {}, classes)
    tensors = {name: torch.zeros(shape[:1]) for name, shape in published_shapes(network).items()}
    return Checkpoint(Path('ia.pth'), tensors, None, None)


def parts(classes: int) -> dict[str, Checkpoint]:
    network = blank_network('fctl_inria', {}, classes)
    state = network.state_dict()
    return {
        part: Checkpoint(
            Path(f'{part}.pth'),
            {released: torch.zeros(state[ours].shape[:1]) for ours, released in names.items()},
            None,
            None,
        )
        for part, names in RELEASED['fctl_inria'].released_names(network).items()
    }


@pytest.mark.parametrize(('make', 'network'), [(published, 'hlrc_inria'), (parts, 'fctl_inria')])
def test_published_weights(make: Any, network: str) -> None:
    found, line = told(make(2), ConversionRequest(network))
    assert found.classes == CLASS_SETS['inria']
    assert found.domain == DOMAINS['inria']
    assert 'classes of inria taken from the preset' in line
    with pytest.raises(CheckpointError, match=r'3 classes, .* the 2 of inria: .*--classes'):
        told(make(3), ConversionRequest(network))
    assert told(make(3), ConversionRequest(network, classes=OWN)) == (
        Description(network, options_of(network, {}), OWN),
        '',
    )


HERE = Domain(('forward',), trained_on='our yard', season='summer', notes={'crop': 'a'})


def test_a_domain_is_read_back_and_completed(tmp_path: Path) -> None:
    path = tmp_path / 'best.pth'
    said = replace(BENT, domain=HERE)
    torch.save({'state_dict': {'a': torch.zeros(1)}, KEY: said.plain()}, path)
    assert open_checkpoint(path).description == said
    assert said.means(BENT)
    assert told(own(description=said), ConversionRequest(domain=HERE))[0] == said
    more = Domain(('forward',), notes={'camera': 'wide'})
    found = told(own(description=said), ConversionRequest(domain=more))[0].domain
    assert found == replace(HERE, notes={'crop': 'a', 'camera': 'wide'})
    with pytest.raises(CheckpointError, match=r"is for view 'forward', --domain says 'nadir'"):
        told(own(description=said), ConversionRequest(domain=Domain(('nadir',))))
    torch.save({KEY: BENT.plain() | {'domain': {'view': 'up'}}, 'a': torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="field domain.view is 'up'"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ('weights', 'wanted', 'domain'),
    [
        (
            earlier(**{'data.dataset': 'inria', 'classes': 2}),
            ConversionRequest(),
            DOMAINS['inria'],
        ),
        (
            earlier(**{'data.dataset': 'aerial', 'data.generated': 0.2}),
            ConversionRequest(classes=OWN),
            DOMAINS['aerial'].with_scenes(),
        ),
        (
            own(description=BENT, decisive={'data.dataset': 'street'}),
            ConversionRequest(),
            DOMAINS['street'],
        ),
        (
            own(description=BENT, decisive={'data.dataset': 'folder'}),
            ConversionRequest(),
            Domain(),
        ),
        (
            own(description=BENT, decisive={'data.dataset': ['street']}),
            ConversionRequest(),
            Domain(),
        ),
        (
            own(description=replace(BENT, domain=HERE), decisive={'data.dataset': 'street'}),
            ConversionRequest(),
            HERE,
        ),
        (own(), ConversionRequest('fast_scnn', classes=OWN, domain=HERE), HERE),
        (own(), ConversionRequest('fast_scnn', classes=OWN), Domain()),
    ],
)
def test_the_domain_of_a_training(
    weights: Checkpoint, wanted: ConversionRequest, domain: Domain
) -> None:
    assert told(weights, wanted)[0].domain == domain


def test_the_domain_of_published_weights() -> None:
    wanted = ConversionRequest('fctl_inria', classes=CLASS_SETS['inria'])
    assert told(parts(2), wanted)[0].domain == DOMAINS['inria']
    with pytest.raises(CheckpointError, match="is for view 'nadir', --domain says 'forward'"):
        told(parts(2), replace(wanted, domain=HERE))
    # Other classes: somebody has trained it again, on what nobody says.
    assert told(parts(3), replace(wanted, classes=OWN))[0].domain == Domain()
    assert told(parts(3), replace(wanted, classes=OWN, domain=HERE))[0].domain == HERE


def test_options_of_former_names() -> None:
    plain = BENT.plain()
    options = dict(plain['options'])
    options['bent'], options['framed'] = (
        options.pop('warped_size'),
        options.pop('ignore_image_border'),
    )
    assert read_description({KEY: plain | {'options': options}}, 'x.pth') == BENT
    assert told(own(description=BENT), ConversionRequest(options={'bent': [64, 64]}))[0] == BENT
    with pytest.raises(CheckpointError, match=r'\[64, 64\], --options says \[9, 9'):
        told(own(description=BENT), ConversionRequest(options={'bent': [9, 9]}))


def test_domain_of_a_name_texts_or_a_file(tmp_path: Path) -> None:
    assert parse_domain([]) == Domain()
    assert parse_domain(['cityscapes']) == DOMAINS['cityscapes']
    texts = ['view=[nadir, oblique]', 'ground_resolution=[0.1,0.2]', 'trained_on=a farm', 'crop=a']
    expected = Domain(('nadir', 'oblique'), (0.1, 0.2), 'a farm', notes={'crop': 'a'})
    assert parse_domain(texts) == expected
    file = tmp_path / 'domain.yaml'
    file.write_text(yaml.safe_dump(expected.plain()))
    assert parse_domain([str(file)]) == expected
    for texts, said in (
        (['moon'], "--domain 'moon': expected KEY=VALUE, a YAML file, or one of cityscapes"),
        (['view=up'], "--domain: field domain.view is 'up', expected one of nadir"),
        (['view=nadir', 'view=forward'], "--domain view=forward: view is 'nadir' already"),
        (['cityscapes', 'view=nadir'], "--domain 'cityscapes': expected KEY=VALUE"),
        (['view=['], '--domain view=[: the value is not YAML'),
    ):
        with pytest.raises(CheckpointError) as error:
            parse_domain(texts)
        assert said in str(error.value)


def test_classes_of_a_name_or_a_file(tmp_path: Path) -> None:
    assert parse_classes('street') == CLASS_SETS['street']
    path = tmp_path / 'classes.yaml'
    path.write_text('classes: [{name: roof, color: [1, 2, 3]}]\nignored: [roof]\n')
    assert parse_classes(str(path)).names == ('roof',)
    path.write_text('names: [roof]\n')
    for text, reason in (
        (str(path), 'classes.yaml'),
        ('moon', 'one of cityscapes'),
        ('none.yaml', 'none.yaml cannot be read'),
    ):
        with pytest.raises(CheckpointError, match=reason):
            parse_classes(text)


def test_options_of_a_text_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / 'options.yaml'
    path.write_text('warped_size: [64, 64]\nignore_image_border: false\n')
    found = parse_options([str(path), 'inner=fast_scnn', 'warped_size=[64, 64]', 'radius=2'])
    assert found == {
        'warped_size': [64, 64],
        'ignore_image_border': False,
        'inner': 'fast_scnn',
        'radius': 2,
    }
    for texts, reason in (
        (['radius=2', 'radius=3'], 'radius is 2 already, and here 3'),
        (['warped_size=[64'], 'not YAML'),
        (['radius'], 'expected KEY=VALUE, or a YAML file'),
    ):
        with pytest.raises(CheckpointError, match=reason):
            parse_options(texts)


def test_options_that_cannot_be_built() -> None:
    # The last ones would take all memory.
    for options in (
        {'warped_size': [65, 64]},
        {'warped_size': 7},
        {'radius': 'wide'},
        {'radius': -1},
        {'radius': 10**9},
        {'size': [64, float('inf')]},
    ):
        with pytest.raises((CheckpointError, ConfigError), match='cannot be built with'):
            blank_network('deform_s', options, 5)
