# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The shipped model keeps what its card says, where its test mosaics are at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from uhr_seg_ros.cli.main import main

MOSAICS = Path(__file__).parents[3] / 'shared/data/aerial'

pytestmark = pytest.mark.skipif(not MOSAICS.is_dir(), reason='the aerial mosaics are not here')


def mean_iou(tmp_path: Path, *arguments: str) -> float:
    report = tmp_path / 'report.json'
    command = ['evaluate', '--bundle', 'hlrc_s_aerial', '--root', str(MOSAICS), '--split', 'test']
    assert main([*command, *arguments, '--json', str(report)]) == 0
    return json.loads(report.read_text(encoding='utf-8'))['mean_iou']


def test_useful_and_ahead_of_its_semantic_branch(tmp_path: Path) -> None:
    both_branches = mean_iou(tmp_path)
    assert both_branches >= 0.61
    assert both_branches > mean_iou(tmp_path, '--branch', 'semantic') + 0.03
    assert both_branches == pytest.approx(mean_iou(tmp_path, '--tile', '1024'), abs=0.03)
