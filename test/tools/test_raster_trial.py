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

"""The trial of a large map: what it makes, and all of it in small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tools import raster_trial
from uhr_seg_ros.core.errors import ConfigError

rasterio = pytest.importorskip('rasterio', reason='the trial makes maps')


def test_frames_are_of_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster_trial, 'SCENE', 64)
    ortho = raster_trial.write_map(tmp_path / 'a.tif', (100, 150))
    frames = list(raster_trial.write_frames(ortho, (100, 150), (40, 50), 4, tmp_path / 'frames'))
    with rasterio.open(ortho) as file:
        whole = file.read()
        assert file.crs == 'EPSG:32632'
    assert whole.std() > 5
    places = [tuple(map(int, path.stem.split('_')[1:])) for path in frames]
    assert len(set(places)) == 4
    for path, (top, left) in zip(frames, places, strict=True):
        with rasterio.open(path) as file:
            assert file.crs is None
            assert np.array_equal(file.read(), whole[:, top : top + 40, left : left + 50])
    with pytest.raises(ConfigError, match='150x100 px holds 6 frames, --frames is 7'):
        list(raster_trial.write_frames(ortho, (100, 150), (40, 50), 7, tmp_path / 'frames'))


def test_throughput_is_without_the_beginning() -> None:
    run = raster_trial.Run
    runs = {
        'start': run(2, 1, 0),
        'frames_before': run(12, 1, 0),
        'map': run(22, 1, 0),
        'frames_after': run(12, 1, 0),
    }
    found = raster_trial.throughput(runs, (100.0, 40.0), 'seconds')
    assert found == {'map': 5.0, 'frames': 2.0}


@pytest.mark.slow
def test_all_of_it_in_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Starts `uhr_seg segment` five times."""
    pytest.importorskip('onnxruntime', reason='the shipped bundle runs')
    monkeypatch.setattr(raster_trial, 'SCENE', 256)
    words = '--size', '700x600', '--frame', '320x240', '--frames', '2', '--twice'
    path = tmp_path / 'trial.json'
    assert raster_trial.main([str(tmp_path / 'scratch'), *words, '--json', str(path)]) == 0
    figures = json.loads(path.read_text())
    assert figures['same_bytes'] and figures['ratio'] > 0
    assert set(figures['sha256']) == {'ortho_700x600_mask.tif', 'ortho_700x600_overlay.jpg'}
    assert figures['runs']['map']['peak_mb'] > 100
    assert 'two runs give the same bytes: True' in capfd.readouterr().out
