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

"""What the launch files say about bundles: which there are, and how to make one for streets."""

from __future__ import annotations

from pathlib import Path

from uhr_seg_ros.core.bundle import installed_bundles, peek_domain
from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.core.resources import share_folders
from uhr_seg_ros.core.text import one_line, printable, shortened

MAX_TEXT = 2000
"""Longest list of bundles, characters."""


def bundles_text() -> str:
    """Return the installed bundles in one line, each with what it is for."""
    text = '; '.join(map(_bundle_text, installed_bundles().items())) or 'none'
    return shortened(printable(text), MAX_TEXT)


def _bundle_text(bundle: tuple[str, Path]) -> str:
    name, path = bundle
    try:
        return f'{name} ({peek_domain(path)})'
    except UhrSegError as err:  # a launch file lists what there is, whatever state it is in
        return f'{name} (not usable: {one_line(err, 200)})'


def street_text() -> str:
    """Return the two commands that make a bundle for forward views."""
    command = 'ros2 run uhr_seg_ros uhr_seg'
    recipe = 'config/train/hlrc_s_street.yaml'
    found = (share / recipe for share in share_folders() if (share / recipe).is_file())
    return (
        'To make one for streets: (1) with the weights that were published for Cityscapes, '
        f'`{command} convert WEIGHTS.pth --network hlrc_cityscapes --output city`, then '
        f'bundle:=city; (2) with labeled images, `{command} train --config '
        f'{next(found, recipe)} --root IMAGES --output run`, then bundle:=run/bundle '
        '(docs/training.md; with your own images: a copy of that file with `dataset: folder`)'
    )
