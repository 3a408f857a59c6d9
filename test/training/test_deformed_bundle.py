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

"""Learned downsampling from the trainer to the masks of its bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='training needs torch')

from tiny import batches_of, CLASSES, config_with

from uhr_seg_ros.export.export import export_bundle
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene
from uhr_seg_ros.training.trainer import Trainer

OPTIONS = {'warped_size': [64, 96], 'size': [16, 24], 'radius': 3}


def test_masks_of_the_bundle_are_those_of_torch(tmp_path: Path) -> None:
    config = config_with(network='deform_s', options=OPTIONS, steps=2, crop=128)
    trainer = Trainer(config, CLASSES, tmp_path / 'run')
    assert trainer.run(batches_of(config))
    network, image = trainer.network, generate_scene(2, 200, 260)[0]
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.35  # norms that have seen something, so that classes differ
        for _ in range(5):
            network.forward_train(normalized(image[None]).repeat(2, 1, 1, 1))
        network.eval()
        expected = network(normalized(image[None]))[0].argmax(0).numpy()
    bundle = export_bundle(
        network, tmp_path / 'bundle', name='d', preset='deform_s', classes=CLASSES
    )
    with Segmenter(bundle, 'onnxruntime') as segmenter:
        found = segmenter(image).mask
    assert len(np.unique(expected)) > 1
    assert (found == expected).mean() > 0.98  # the others are ties of equally near pixels
