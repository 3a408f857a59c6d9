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

"""`uhr_seg batch` on this machine: units, resuming, and what fails alone."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_bundle import paint
from written import picture as soft
from written import write

from uhr_seg_ros.cli.main import main

RED, GREEN, BLUE = range(3)


def batch(bundle: Path, output: Path, *words: object) -> int:
    options = ('--bundle', bundle, '--output', output, '--backend', 'onnxruntime')
    return main(['batch', *map(str, (*words, *options, '--workers', 1))])


def picture(path: Path, class_id: int, side: int = 16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), paint(np.full((side, side), class_id, np.uint8)))
    return path


def records(output: Path) -> list[dict]:
    lines = (output / '.uhr_seg_batch' / 'manifest.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


def contents(output: Path) -> dict[str, bytes]:
    """Return the results, without what tells times."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob('*'))
        if path.is_file()
        and '.uhr_seg_batch/' not in str(path)
        and path.name not in ('summary.html', 'manifest.parquet', 'manifest.csv')
    }


def test_a_folder_in_shards(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(5):
        picture(tmp_path / 'in' / f'{index}.png', index % 3)
    (tmp_path / 'in' / '9.png').write_bytes(b'no picture')
    words = tmp_path / 'in', '--unit-frames', 2, '--retries', 1
    out = tmp_path / 'out'
    assert batch(tiny_bundle, out, *words) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == f'5 done, 1 failed: {out}'
    assert '9.png is left out: ' in captured.err
    mask = cv2.imread(str(out / '1_mask.png'), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (16, 16) and (mask == GREEN).all()
    with (out / 'summary.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['image'] for row in rows] == ['0', '1', '2', '3', '4', 'total']
    assert rows[-1]['red_px'] == str(2 * 256)
    (failed,) = (each for each in records(out) if each['status'] == 'failed')
    assert failed['attempts'] == 2
    page = (out / 'summary.html').read_text()
    assert '9.png' in page and page.count('<figure>') == 5
    # Again: only the broken one is tried; when it is mended nothing else is.
    before = contents(out)
    assert batch(tiny_bundle, out, *words) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f'0 done, 1 failed, 5 done before: {out}'
    picture(tmp_path / 'in' / '9.png', BLUE)
    assert batch(tiny_bundle, out, *words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f'1 done, 5 done before: {out}'
    assert contents(out).items() >= {k: v for k, v in before.items() if k != 'summary.csv'}.items()


def test_what_is_done_is_known_by_content_and_options(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = picture(tmp_path / 'one.png', RED)
    other = picture(tmp_path / 'two.png', RED)
    out = tmp_path / 'out'

    def last(*words: object) -> str:
        assert batch(tiny_bundle, out, image, other, *words) == 0
        return capsys.readouterr().out.splitlines()[-1].partition(':')[0]

    assert last() == '2 done'
    os.utime(image, (1, 1))  # written again, with the same content
    assert last() == '0 done, 2 done before'
    picture(image, BLUE)
    assert last() == '1 done, 1 done before'
    (out / 'two_mask.png').unlink()
    assert last() == '1 done, 1 done before'
    assert last('--format', 'tif') == '2 done'
    assert last('--format', 'tif') == '0 done, 2 done before'


def test_boundaries_are_refined_as_by_segment(tiny_bundle: Path, tmp_path: Path) -> None:
    source, refine = tmp_path / 'soft.png', ('--refine', 'random_walker')
    write(source, soft(0, 48, 64))
    masks = {}
    for name, words in (('plain', ()), ('refined', refine)):
        assert batch(tiny_bundle, tmp_path / name, source, *words) == 0
        masks[name] = (tmp_path / name / 'soft_mask.png').read_bytes()
    one = ['segment', str(source), '--bundle', str(tiny_bundle), '--output', str(tmp_path / 'one')]
    assert main([*one, *refine]) == 0
    assert masks['refined'] == (tmp_path / 'one/soft_mask.png').read_bytes() != masks['plain']


def test_a_recording_in_chunks_is_the_one_in_one_piece(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Byte for byte that of `benchmark offline`, whose frames are not cut into chunks."""
    pytest.importorskip('rosbags', reason='recordings are read with rosbags')
    from image_bags import image, record

    messages = [
        image('bgr8', paint(np.full((16, 32), index % 3, np.uint8)), index + 1)
        for index in range(7)
    ]
    messages[3] = messages[3][:70]
    bag = record(tmp_path / 'bag', {'/cam': messages, '/other': [image('16UC1')] * 9})
    whole, out = tmp_path / 'whole' / 'bag', tmp_path / 'out'
    options = '--bundle', str(tiny_bundle), '--backend', 'onnxruntime'
    assert main(['benchmark', 'offline', str(bag), '--output', str(whole), *options]) == 1
    assert batch(tiny_bundle, out, bag, '--unit-frames', 2, '--topic', '/cam') == 1
    assert (
        capsys.readouterr().out.splitlines()[-1] == f'1 done, 1 frames or blocks left out: {out}'
    )
    for path in whole.iterdir():
        assert (out / 'bag' / path.name).read_bytes() == path.read_bytes(), path.name
    units = [each for each in records(out) if each['kind'] == 'frames']
    assert [each['frames'] for each in units] == [2, 1, 2, 1]
    assert not list((out / '.uhr_seg_batch' / 'work').iterdir())
    assert batch(tiny_bundle, out, bag, '--unit-frames', 2, '--topic', '/cam') == 0
    assert capsys.readouterr().out.splitlines()[-1] == f'0 done, 1 done before: {out}'
    # What somebody else has put there stays.
    (out / 'bag' / '.uhr_seg_batch').unlink()
    assert batch(tiny_bundle, out, bag, '--unit-frames', 3, '--topic', '/cam') == 1
    assert 'exists already' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('times', 'expected'),
    [
        ([], []),
        ([5], [(0, (5, 6))]),
        ([1, 2, 3, 4, 5], [(0, (1, 3)), (2, (3, 5)), (4, (5, 6))]),
        ([1, 2, 2, 2, 3], [(0, (1, 2)), (1, (2, 3)), (4, (3, 4))]),
        ([7, 7, 7], [(0, (7, 8))]),
        ([3, 1, 2], [(0, (1, 3)), (2, (3, 4))]),
    ],
)
def test_cutting_by_time(times: list[int], expected: list) -> None:
    pytest.importorskip('rosbags', reason='recordings are read with rosbags')
    from uhr_seg_ros.fleet.bag_units import cut_by_time

    assert cut_by_time(times, 2) == expected


def test_a_video_in_chunks(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'clip.avi'
    video = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*'MJPG'), 5, (64, 16)
    )
    if not video.isOpened():
        pytest.skip('this OpenCV has no FFmpeg')
    for index in range(10):
        video.write(paint(np.full((16, 64), index % 2, np.uint8)))
    video.release()
    out, cut = tmp_path / 'out', tmp_path / 'cut.avi'
    cut.write_bytes(b'00dc'.join(path.read_bytes().split(b'00dc')[:5]))  # head, four frames
    words = '--every', 3, '--unit-frames', 2, '--no-overlay'
    assert batch(tiny_bundle, out, path, cut, *words) == 1
    assert 'of 10 frames: it is cut short or damaged' in capsys.readouterr().err
    names = [f'{name}_mask.png' for name in ('clip_000000', 'clip_000003', 'clip_000006')]
    assert {*names, 'clip_000009_mask.png', 'cut_000000_mask.png'} <= set(os.listdir(out))
    done = {each['place']: each['frames'] for each in records(out) if each['name'] == 'clip'}
    assert done == {'': 0, 'from frame 0 to 3': 2, 'from frame 6': 2}
