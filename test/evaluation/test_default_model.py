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
The quality of the shipped model.

On generated scenes always: it was trained on others of their kind, so the figures guard what
computes the mask, and are not those of the field. On its test mosaics, where they lie beside the
clone, it keeps what its card says: with `--all`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene

MOSAICS = Path(__file__).parents[3] / 'shared/data/aerial'
#: Seeds of scenes with all five classes, beside those of training.
SEEDS = (102, 103)
SIDE = 768


def test_generated_scenes() -> None:
    """It guards against regressions; how good the model is, docs/results/models.md says."""
    whole, semantic, tiled = (ConfusionMatrix(5) for _ in range(3))
    same = []
    with (
        Segmenter('hlrc_s_aerial', 'onnxruntime') as segmenter,
        Segmenter('hlrc_s_aerial', 'onnxruntime', TilingOptions(tile=512)) as in_tiles,
    ):
        for seed in SEEDS:
            image, labels = generate_scene(seed, SIDE, SIDE)
            mask, other = segmenter(image).mask, in_tiles(image).mask
            whole.add(labels, mask)
            tiled.add(labels, other)
            semantic.add(labels, segmenter.semantic_only(image))
            same.append((mask == other).mean())
    assert whole.mean_iou() >= 0.78
    assert whole.mean_iou() > semantic.mean_iou() + 0.03
    assert tiled.mean_iou() == pytest.approx(whole.mean_iou(), abs=0.02)
    assert np.mean(same) > 0.97


def mean_iou(tmp_path: Path, *arguments: str) -> float:
    report = tmp_path / 'report.json'
    command = ['evaluate', '--bundle', 'hlrc_s_aerial', '--root', str(MOSAICS), '--split', 'test']
    assert main([*command, *arguments, '--json', str(report)]) == 0
    return json.loads(report.read_text(encoding='utf-8'))['mean_iou']


@pytest.mark.slow
@pytest.mark.skipif(not MOSAICS.is_dir(), reason='the aerial mosaics are not here')
def test_useful_and_ahead_of_its_semantic_branch(tmp_path: Path) -> None:
    both_branches = mean_iou(tmp_path)
    assert both_branches >= 0.61
    assert both_branches > mean_iou(tmp_path, '--branch', 'semantic') + 0.03
    assert both_branches == pytest.approx(mean_iou(tmp_path, '--tile', '1024'), abs=0.03)
