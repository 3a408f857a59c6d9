# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The demo from end to end: files in, DDS, the node in its own process, files out."""

from __future__ import annotations

import json
import os
from pathlib import Path
import subprocess
import sys

import cv2
import numpy as np
import pytest
from tiny_bundle import paint

pytest.importorskip('rclpy', reason='rclpy is not installed')

from uhr_seg_ros.benchmark.sources import prepare_bag, SourceError
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import choose_topic
from uhr_seg_ros.segmenter import Segmenter

BLOCKS = np.random.default_rng(3).integers(0, 3, (3, 12, 20)).astype(np.uint8)
MASKS = BLOCKS.repeat(16, 1).repeat(16, 2)


def run_demo(*arguments: object) -> subprocess.CompletedProcess:
    # The domain of this test process would be shared by tests that run beside it.
    environment = {key: value for key, value in os.environ.items() if key != 'ROS_DOMAIN_ID'}
    command = [sys.executable, '-m', 'uhr_seg_ros.cli', 'demo', *map(str, arguments)]
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_images_become_masks_overlays_and_a_report(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    files = [tmp_path / f'{index}.png' for index in range(len(MASKS))]
    for file, mask in zip(files, MASKS, strict=True):
        cv2.imwrite(str(file), paint(mask))
    output = tmp_path / 'out'

    result = run_demo(*files, '--bundle', tiny_bundle, '--output', output, '--rate', 0.5)

    assert result.returncode == 0, result.stdout + result.stderr
    saved = sorted((output / 'masks').iterdir())
    assert [file.name for file in saved] == [
        '0000000001.000000000_mask.png',
        '0000000003.000000000_mask.png',
        '0000000005.000000000_mask.png',
    ]
    with Segmenter(tiny_bundle) as segmenter:
        for file, mask in zip(saved, MASKS, strict=True):
            expected = segmenter(paint(mask)).mask
            np.testing.assert_array_equal(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), expected)
    assert len(list((output / 'overlays').glob('*_overlay.jpg'))) == 3
    assert cv2.imread(str(output / 'overview.jpg')) is not None
    report = json.loads((output / 'report.json').read_text())
    assert report['frames_played'] == report['frames_received'] == 3
    assert report['frames_processed'] == report['masks_saved'] == 3
    assert report['frames_dropped'] == report['frames_rejected'] == report['node_exit_code'] == 0
    assert 0 < report['latency_ms']['p50'] <= report['latency_ms']['max']
    for stage in ('convert', 'preprocess', 'semantic', 'detail', 'fusion', 'publish'):
        assert report['stage_ms'][stage]['p50'] > 0
    assert 'received' in result.stdout and 'rejected' in result.stdout


def test_recording_that_is_too_fast_loses_frames_and_says_so(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with BagWriter(tmp_path / 'bag', topic='/front/image') as bag:
        for index in range(30):
            bag.write(paint(MASKS[index % 3]), (index + 1) * 1_000_000)
    output = tmp_path / 'out'

    result = run_demo(tmp_path / 'bag', '--bundle', tiny_bundle, '--output', output)

    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads((output / 'report.json').read_text())
    assert report['frames_played'] == 30
    assert report['frames_received'] == report['frames_processed'] + report['frames_dropped']
    assert 1 <= report['frames_processed'] <= 30
    assert report['masks_saved'] <= report['frames_processed']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--bundle', 'no_such_model'], "no bundle 'no_such_model'"),
        (['{tmp}/missing.png'], 'no such file: '),
        (['{tmp}/text.png'], 'is damaged or of an unknown format'),
        (['{tmp}/broken.mcap'], 'cannot be read as a rosbag2 recording'),
        (['--size', '4K'], 'expected <width>x<height>'),
    ],
)
def test_bad_input_ends_in_one_line(
    tiny_bundle: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    for name in ('text.png', 'broken.mcap'):
        (tmp_path / name).write_text('neither')
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    result = run_demo('--bundle', tiny_bundle, '--output', tmp_path / 'out', *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert 'Traceback' not in result.stderr


def test_generated_flight(tmp_path: Path) -> None:
    told: list[str] = []
    bag = prepare_bag([], tmp_path / 'flight', count=3, rate_hz=2.0, size=(96, 160),
                      tell=told.append)  # fmt: skip
    assert choose_topic(bag).count == 3
    assert told[-1] == 'recorded frame 3 of 3, 160x96'
    # Recorded again, it takes the place of the first.
    prepare_bag([], tmp_path / 'flight', count=2, rate_hz=2.0, size=(96, 160), tell=told.append)
    assert choose_topic(bag).count == 2


def test_no_room_for_a_recording(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match='MB free, the recording takes'):
        prepare_bag([], tmp_path / 'flight', count=10**9, rate_hz=1.0)


def test_recording_of_somebody_else_stays(tmp_path: Path) -> None:
    folder = tmp_path / 'flight'
    with BagWriter(folder, topic='/cam') as bag:
        bag.write(paint(MASKS[0]), 0)
    with pytest.raises(SourceError, match='not made by the demo'):
        prepare_bag([], folder, count=1, rate_hz=1.0, size=(96, 160))
    assert choose_topic(folder).name == '/cam'
