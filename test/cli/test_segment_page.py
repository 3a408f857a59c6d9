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

"""Every command of docs/segment.md and rasters.md, in their order on small files of the names."""

from __future__ import annotations

from pathlib import Path
import re
import shlex

import cv2
import numpy as np
import pytest

from uhr_seg_ros.cli import segment
from uhr_seg_ros.cli.main import main

DOCS = Path(__file__).resolve().parents[2] / 'docs'


def commands(page: str) -> list[list[str]]:
    """Return the words of the commands of `uhr_seg` on a page."""
    text = (DOCS / page).read_text(encoding='utf-8')
    blocks = re.findall(r'^```bash\n(.*?)^```', text, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith('uhr_seg ')]


def make_inputs(frame: np.ndarray) -> None:
    """Write photos, a recording, a video and a map into the current folder."""
    from image_bags import image, record

    for name in ('a.jpg', 'b.jpg', 'north/b.jpg'):
        Path('photos', name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(f'photos/{name}', frame)
    record(Path('flight_bag'), {'/image_raw': [image('bgr8', frame, 10**9)] * 2})
    codec = cv2.VideoWriter_fourcc(*'MJPG')
    video = cv2.VideoWriter('clip.mp4', cv2.CAP_FFMPEG, codec, 5, frame.shape[1::-1])
    if not video.isOpened():
        pytest.skip('this OpenCV has no FFmpeg')
    for _ in range(11):
        video.write(frame)
    video.release()
    tifffile = pytest.importorskip('tifffile', reason='writes the map')
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32632)
    tags = [
        (33550, 'd', 3, (0.5, 0.5, 0.0)),
        (33922, 'd', 6, (0.0, 0.0, 0.0, 5e5, 5e6, 0.0)),
        (34735, 'H', len(keys), keys),
    ]
    tifffile.imwrite('ortho.tif', frame, photometric='rgb', extratags=tags)


def test_commands_of_the_page(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('rosbags', reason='one of the inputs is a recording')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(segment, 'DEFAULT_BUNDLE', str(tiny_bundle))
    make_inputs(np.full((32, 48, 3), 90, np.uint8))
    found = commands('segment.md')
    assert len(found) > 7
    for program, *words in found:
        assert program == 'uhr_seg'
        assert main(words) == 0, words
    assert sorted(path.name for path in Path('out_clip').glob('*mask*')) == [
        'clip_000000_mask.png',
        'clip_000010_mask.png',
    ]
    assert len(list(Path('out_all').glob('*_mask.png'))) == 2 + 2 + 11
    for folder, side in (('out_areas', 0.05), ('out_ortho', 0.5)):
        *_, total = Path(folder, 'summary.csv').read_text().splitlines()
        images = 1 if folder == 'out_ortho' else 2
        areas = [float(cell) for cell in total.split(',')[-3:]]
        assert sum(areas) == pytest.approx(images * 32 * 48 * side**2)


def test_commands_of_the_page_of_rasters(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('rasterio', 'pyogrio', 'shapely'):
        pytest.importorskip(name, reason='of the extra rasters')
    from rasters import bands_of, write_raster

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(segment, 'DEFAULT_BUNDLE', str(tiny_bundle))
    values = bands_of(np.full((32, 48, 3), 90, np.uint8))
    write_raster(Path('ortho.tif'), values)
    write_raster(Path('deep.tif'), values.astype(np.uint16) * 16)
    for _, *words in commands('rasters.md'):
        assert main(words) == 0, words
    assert len(list(tmp_path.glob('out*/*_mask.tif'))) == 6
    assert Path('areas.gpkg').is_file()
