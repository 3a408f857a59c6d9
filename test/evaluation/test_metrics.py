# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Metrics against counting pixel by pixel."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_bundle import make_tiny_bundle, paint

from uhr_seg_ros.cli import main
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix, MetricError


def brute_force_iou(labels: np.ndarray, mask: np.ndarray, classes: int) -> list[float]:
    values = []
    for index in range(classes):
        both = either = 0
        for truth, found in zip(labels.ravel(), mask.ravel(), strict=True):
            if truth != 255:
                both += truth == found == index
                either += index in (truth, found)
        values.append(both / either if either else float('nan'))
    return values


def test_iou_equals_counting() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2, 255], (20, 30)).astype(np.uint8)
    mask = rng.integers(0, 3, (20, 30)).astype(np.uint8)
    matrix = ConfusionMatrix(4)
    matrix.add(labels[:7], mask[:7])
    matrix.add(labels[7:], mask[7:])
    expected = brute_force_iou(labels, mask, 4)
    assert matrix.iou() == pytest.approx(expected, nan_ok=True)
    assert matrix.mean_iou() == pytest.approx(np.mean(expected[:3]))
    known = labels != 255
    assert matrix.accuracy() == pytest.approx((labels == mask)[known].mean())


def test_nothing_labelled() -> None:
    matrix = ConfusionMatrix(2)
    matrix.add(np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8))
    assert np.isnan(matrix.mean_iou())
    assert np.isnan(matrix.accuracy())


def test_what_cannot_be_compared() -> None:
    matrix = ConfusionMatrix(2)
    with pytest.raises(MetricError, match=r'labels are \(2, 2\), the mask \(2, 3\)'):
        matrix.add(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))
    with pytest.raises(MetricError, match='mask id 2 with 2 classes'):
        matrix.add(np.zeros((2, 2), np.uint8), np.full((2, 2), 2, np.uint8))


def test_evaluate_command(tmp_path: Path) -> None:
    labels = np.random.default_rng(1).integers(0, 3, (6, 8), np.uint8).repeat(16, 0).repeat(16, 1)
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / 'images/a.jpg'), paint(labels), [cv2.IMWRITE_JPEG_QUALITY, 100])
    wrong = labels.copy()
    wrong[:16, :16] = (wrong[:16, :16] + 1) % 3
    cv2.imwrite(str(tmp_path / 'labels/a.png'), wrong)
    (tmp_path / 'split.json').write_text(json.dumps({'train': [], 'test': ['a']}))
    bundle, report = make_tiny_bundle(tmp_path / 'tiny'), tmp_path / 'figures.json'
    arguments = ['evaluate', '--bundle', str(bundle), '--root', str(tmp_path)]
    assert main([*arguments, '--json', str(report)]) == 0
    figures = json.loads(report.read_text())
    assert figures['accuracy'] == pytest.approx(47 / 48, abs=0.02)
    assert set(figures['iou']) == {'red', 'green', 'blue'}
