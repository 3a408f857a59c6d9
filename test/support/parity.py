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

"""
Numbers of the published implementation: fixtures, and weights made from names alone.

A fixture holds tensors of the published network along one image. Its weights are not stored:
every array is a function of its published name and shape, so both sides can make them.
"""

from __future__ import annotations

import json
from pathlib import Path
import re
import zlib

import numpy as np

DATA = Path(__file__).resolve().parents[1] / 'data'
SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'parity'
SALTS = {'hlrc_cityscapes': '', 'hlrc_deepglobe': 'i', 'hlrc_inria': 'inria:'}
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)

# Gain of a weight by the first pattern found in its name; keeps activations of a fixture sane.
GAINS = (
    (r'\.w_msa\.qkv\.', 1.5),
    (r'\.ffn\.layers\.0\.0\.', 1.4),
    (r'\.rpae\.gate\.', 1.5),
    (r'\.rpae\.experts\.\d+\.w\.[02]\.', 1.4),
    (r'\.rpae\.experts\.\d+\.w\.4\.', 1.2),
    (r'\.context_module\.main\.proj\.conv\.', 0.3),
    (r'\.(inverted_conv|depth_conv)\.conv\.', 1.7),
    (r'\.op_list\.0\.main\.point_conv\.conv\.', 0.5),
    (r'\.op_list\.\d+\.main\.point_conv\.conv\.', 0.4),
    (r'\.local_module\.main\.point_conv\.conv\.', 0.4),
    (r'\.input_stem\.op_list\.0\.conv\.', 3.0),
    (r'\.affinity_head\.0\.(depth|point)wise_conv\.', 1.4),
    (r'fpn_convs', 0.8),
    (r'(bottleneck|lateral_convs|psp_modules|conv_bn_relu|sr_decoder|auxiliary_head\.convs)', 1.4),
    (r'(conv_seg|conv_out)\.', 2.0),
    (r'^(big_)?pool[345]\.\d+\.', 1.4),
    (r'^output\.[03]\.', 1.4),
    (r'^adj_pool4\.', 100.0),
    (r'^adj_pool3\.', 3000.0),
    (r'\.conv_(query|key)', 0.3),
    (r'^layer1\.\d+\.conv3\.', 0.4),
    (r'^stage[234]\.\d+\.branches\.\d+\.\d+\.conv2\.', 0.4),
    (r'^stage[234]\.\d+\.fuse_layers\.', 0.4),
)
CENTERED = re.compile(
    r'(\.affinity_head\.1\.conv|\.affinity_head\.0\.pointwise_conv\.conv|\.rpae\.gate'
    r'|\.conv_out|conv_seg)\.'
)


class Fixture:
    """One file of reference tensors, some of them stored with a stride over their elements."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as stored:
            self.meta = json.loads(str(stored['meta']))
            self.arrays = {name: stored[name] for name in stored.files if name != 'meta'}

    @property
    def image(self) -> np.ndarray:
        """Normalised network input (N, 3, H, W) float32."""
        image = self.arrays['image_u8']
        image = image[None] if image.ndim == 3 else image
        return np.ascontiguousarray(((image - MEAN) / STD).transpose(0, 3, 1, 2), np.float32)

    def tensors(self) -> list[str]:
        """Names of the float tensors."""
        return [name.split('@')[0] for name in self.arrays if not name.endswith('_u8')]

    def error(self, name: str, value: np.ndarray) -> float:
        """Largest difference from the reference over its largest absolute value."""
        key = next(key for key in self.arrays if key.split('@')[0] == name)
        step = int(key.split('@')[1]) if '@' in key else 1
        reference = self.arrays[key].reshape(-1).astype(np.float64)
        shape = tuple(self.meta['tensors'][name]['shape'])
        assert tuple(value.shape) == shape, f'{name}: {value.shape}, reference {shape}'
        difference = np.abs(value.reshape(-1)[::step] - reference).max()
        return float(difference / self.meta['tensors'][name]['absmax'])


def weight(name: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """Make the float32 weight of a published name."""
    leaf = name.rpartition('.')[2]
    rng = np.random.Generator(np.random.PCG64(zlib.crc32((salt + name).encode())))
    noise = rng.standard_normal(int(np.prod(shape))).reshape(shape)
    if leaf == 'running_mean':
        value = 0.1 * noise
    elif leaf == 'running_var':
        value = 1.0 + 0.1 * np.abs(noise)
    elif leaf == 'relative_position_bias_table':
        value = 0.5 * noise
    elif leaf == 'bias':
        value = 0.1 * noise
    elif leaf.startswith('gamma') or (leaf == 'weight' and len(shape) == 1):
        value = 1.0 + 0.1 * noise
    else:
        if CENTERED.search(name):
            axes = tuple(range(1, noise.ndim))
            noise = noise - noise.mean(axes, keepdims=True)
        gain = next((gain for pattern, gain in GAINS if re.search(pattern, name)), 1.0)
        # In place: of the largest, half a gigabyte, every copy would take a second.
        noise *= gain
        noise /= np.sqrt(np.prod(shape[1:]))
        value = noise
    return value.astype(np.float32)
