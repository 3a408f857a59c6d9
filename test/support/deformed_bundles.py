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

"""Bundles of learned and of uniform downsampling, for tests that run them."""

from __future__ import annotations

from pathlib import Path

from built_once import built_once
import cv2
from networks_seen import see
import numpy as np
import pytest
import torch

from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.classes import CLASS_SETS
from uhr_seg_ros.export import export
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.presets import build_network

#: Kind of bundle -> sampling of its network.
SAMPLING = {'deformed': 'learned', 'uniform': 'uniform'}


def deformed_bundle(factory: pytest.TempPathFactory, kind: str) -> Bundle:
    """Return the bundle of a kind, named like it, which tests must not write into."""

    def build(folder: Path) -> None:
        torch.manual_seed(0)
        network = build_network(
            'deform_s', sampling=SAMPLING[kind], warped_size=[64, 96], size=[16, 24], radius=3
        )
        see(network, normalized(picture(270, 481)[None]).repeat(2, 1, 1, 1))
        fields = {'name': kind, 'preset': 'deform_s', 'classes': CLASS_SETS['aerial']}
        with pytest.MonkeyPatch.context() as patch:
            # test_deformed_export.py compares them with torch.
            patch.setattr(export, 'compare', lambda *_: None)
            export.export_bundle(network, folder, **fields)

    return load_bundle(built_once(factory, kind, build))


def picture(height: int, width: int) -> np.ndarray:
    """Return smooth noise, (H, W, 3) uint8."""
    cells = np.random.default_rng(0).integers(0, 256, (9, 16, 3), np.uint8)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
