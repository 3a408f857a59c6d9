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

"""Rasters of `uhr_seg batch`: rows of blocks by themselves give the map of `uhr_seg segment`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rasters import bands_of, colored, write_raster
from tiny_bundle import SMALL_MB

from uhr_seg_ros.cli.main import main

pytest.importorskip('rasterio', reason='rasters are read by rasterio')


def run(command: str, bundle: Path, output: Path, *words: object) -> int:
    options = ('--bundle', bundle, '--output', output, '--backend', 'onnxruntime')
    return main([command, *map(str, (*words, *options, '--memory-limit-mb', SMALL_MB))])


def test_rows_by_themselves_give_the_same_map(
    far_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, also where blocks have no data and the context comes in windows."""
    from uhr_seg_ros.fleet import raster_units
    from uhr_seg_ros.pipelines import raster_tokens

    monkeypatch.setattr(raster_tokens, 'SEMANTIC_RATIO', 1e5)
    monkeypatch.setattr(raster_tokens, '_BAND', 256)
    monkeypatch.setattr(raster_units, 'FRAME_PIXELS', 1 << 19)
    image = colored(1165, 1290)
    image[368:800, :480] = 0  # all of a tile, and no pixel more
    path = write_raster(tmp_path / 'ortho.tif', bands_of(image), nodata=0)
    assert run('segment', far_bundle, tmp_path / 'whole', path) == 0
    out = tmp_path / 'out'
    assert run('batch', far_bundle, out, path, '--unit-frames', 1, '--workers', 1) == 0
    for name in ('ortho_mask.tif', 'ortho_overlay.jpg', 'summary.csv'):
        assert (out / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes(), name
    lines = (out / '.uhr_seg_batch' / 'manifest.jsonl').read_text().splitlines()
    kinds = [json.loads(line)['kind'] for line in lines]
    assert kinds.count('tokens') > 2 and kinds.count('rows') == 3
    assert not list((out / '.uhr_seg_batch' / 'work').iterdir())


def test_a_tiff_without_a_place_is_an_image(
    far_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_raster(
        tmp_path / 'plain.tif', bands_of(colored(64, 64)), crs=None, transform=None
    )
    cut = tmp_path / 'cut.tif'
    cut.write_bytes(path.read_bytes()[:200])
    out = tmp_path / 'out'
    assert run('batch', far_bundle, out, path, cut, '--workers', 1, '--retries', 0) == 1
    assert (out / 'plain_mask.png').is_file()
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == f'1 done, 1 failed: {out}'
    assert run('batch', far_bundle, out, path, '--workers', 1) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f'0 done, 1 done before: {out}'
    assert np.array_equal(sorted(out.glob('*_mask.*')), [out / 'plain_mask.png'])
