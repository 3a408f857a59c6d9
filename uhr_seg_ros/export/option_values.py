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

"""Values of options that describe a model: its classes, what it is for, options of its network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
import re
from typing import Any

from uhr_seg_ros.core.classes import CLASS_SETS, ClassSet, read_classes
from uhr_seg_ros.core.config_reader import Fields, read_mapping
from uhr_seg_ros.core.domain import Domain, DOMAINS, read_domain
from uhr_seg_ros.core.errors import CheckpointError
from uhr_seg_ros.core.strict_load import load_yaml, ValueFault
from uhr_seg_ros.core.text import shown


def parse_classes(text: str) -> ClassSet:
    """
    Read the value of ``--classes``: a key of ``CLASS_SETS``, or a file with a list ``classes``.

    Raises:
        CheckpointError: There is neither, or the file is wrong.
    """
    if text in CLASS_SETS:
        return CLASS_SETS[text]
    path = Path(text)
    if path.suffix not in ('.yaml', '.yml'):
        msg = f'--classes {text!r} is neither a YAML file nor one of {", ".join(CLASS_SETS)}'
        raise CheckpointError(msg)
    content = read_mapping(path, CheckpointError, 'docs/data.md shows an example of classes.yaml')
    return read_classes(Fields(path, content, CheckpointError))


def parse_domain(texts: Sequence[str]) -> Domain:
    """
    Read the values of ``--domain``: a key of ``DOMAINS``, or what ``parse_options`` takes.

    Raises:
        CheckpointError: A text, a file or a value is wrong, or a key is there with two values.
    """
    if len(texts) == 1 and texts[0] in DOMAINS:
        return DOMAINS[texts[0]]
    if names := [text for text in texts if '=' not in text and not Path(text).exists()]:
        known = ', '.join(DOMAINS)
        msg = f'--domain {shown(names[0])}: expected KEY=VALUE, a YAML file, or one of {known}'
        raise CheckpointError(msg)
    found = parse_options(texts, '--domain')
    return read_domain(Fields(Path('--domain'), {'domain': found}, CheckpointError))


def parse_options(texts: Sequence[str], option: str = '--options') -> dict[str, Any]:
    """
    Read the values of ``--options``: ``KEY=VALUE`` with a value as in YAML, or a file of them.

    Args:
        texts: The values.
        option: What it is called, for texts.

    Raises:
        CheckpointError: A text or a file is wrong, or an option is there with two values.
    """
    found: dict[str, Any] = {}
    for text in texts:
        if match := re.fullmatch(r'([A-Za-z_]\w*)=(.*)', text, re.DOTALL):
            options = {match[1]: _value(match[2], f'{option} {text}')}
        else:
            advice = 'expected KEY=VALUE, or a YAML file of them'
            options = read_mapping(Path(text), CheckpointError, advice)
        for name, value in options.items():
            if name in found and found[name] != value:
                msg = f'{option} {text}: {name} is {found[name]!r} already, and here {value!r}'
                raise CheckpointError(msg)
            found[name] = value
    return found


def _value(text: str, whole: str) -> Any:
    try:
        return load_yaml(text)
    except ValueFault as err:
        msg = f'{whole}: the value is not YAML ({err})'
        raise CheckpointError(msg) from err
