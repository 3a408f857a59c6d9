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

"""Bundles of patches with every kind of context, and the networks that they were made from."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from built_once import built_once
from networks_seen import see
import pytest
import torch

from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.export import export
from uhr_seg_ros.networks.fctl.patch_network import PatchNetwork
from uhr_seg_ros.networks.presets import build_network

SIDE = 64
#: Every kind of context, and none.
CONTEXTS = {
    'numbers': {'medium': 2, 'large': 3},
    'whole': {'medium': 1.5, 'large': 'whole'},
    'none': {'medium': None, 'large': None},
}


@lru_cache
def patch_network(contexts: str) -> PatchNetwork:
    """Build a small network with weights that make contexts and places matter."""
    torch.manual_seed(0)
    network = build_network('fctl_s', side=SIDE, **CONTEXTS[contexts]).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return see(network, torch.randn(2, 3, 3 * SIDE, 3 * SIDE))


def patch_bundle(factory: pytest.TempPathFactory, contexts: str) -> Bundle:
    """Return the bundle of `patch_network`, which tests must not write into."""

    def build(folder: Path) -> None:
        fields = {'name': 'p', 'preset': 'fctl_s', 'classes': CLASS_SETS['aerial']}
        with pytest.MonkeyPatch.context() as patch:
            # test_patches.py compares the two.
            patch.setattr(export, 'compare', lambda *_: None)
            export.export_bundle(patch_network(contexts), folder, **fields)

    return load_bundle(built_once(factory, f'patches_{contexts}', build))
