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

"""Networks that packages of others build, which need not be installed."""

from __future__ import annotations

import pytest

#: Network -> the package that it is built by.
PACKAGES = {
    'segformer_b0': 'transformers',
    'segformer_b0_low': 'transformers',
    'unet': 'segmentation_models_pytorch',
    'deeplabv3plus': 'segmentation_models_pytorch',
}


def need_package(network: str) -> None:
    """Skip a test of a network whose package is not installed."""
    if network in PACKAGES:
        pytest.importorskip(PACKAGES[network], reason=f'{network} needs it')
