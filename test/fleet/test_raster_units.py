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

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from rasters import bands_of, colored, write_raster
from tiny_bundle import SMALL_MB

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.image_io.georeference import m2_per_square_degree

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


def test_maps_of_several_coordinate_systems(tiny_bundle: Path, tmp_path: Path) -> None:
    """Each keeps its own, and its areas are square meters, whatever its unit of length is."""
    import rasterio
    import rasterio.shutil
    import rasterio.transform

    turn = rasterio.transform.from_origin
    systems = {
        'meters': ('EPSG:32632', turn(5e5, 5e6, 0.5, 0.5), 0.25),
        'feet': ('EPSG:2263', turn(1e6, 2e5, 2, 2), (2 * 1200 / 3937) ** 2),
        'degrees': ('EPSG:4326', turn(9, 45, 1e-5, 1e-5), 1e-10 * m2_per_square_degree(45)),
        'nowhere': (None, None, 0.0),
    }
    paths = []
    for name, (crs, transform, _) in systems.items():
        path = tmp_path / f'{name}.vrt'
        tif = tmp_path / 'tiles' / f'{name}.tif'
        tif.parent.mkdir(exist_ok=True)
        write_raster(tif, bands_of(colored(64, 64)), crs=crs, transform=transform)
        rasterio.shutil.copy(str(tif), str(path), driver='VRT')  # a map even without a place
        paths.append(path)
    out = tmp_path / 'out'
    assert run('batch', tiny_bundle, out, *paths, '--workers', 1) == 0
    with (out / 'summary.csv').open(newline='') as file:
        rows = {row['image']: row for row in csv.DictReader(file)}
    for name, (crs, transform, m2) in systems.items():
        with rasterio.open(out / f'{name}_mask.tif') as mask:
            assert mask.crs == (crs and rasterio.CRS.from_user_input(crs))
            assert transform is None or mask.transform == transform
        found = rows[name]['m2_per_pixel']
        assert float(found or 0) == pytest.approx(m2, rel=1e-4), name
    page = (out / 'summary.html').read_text()
    assert all(crs in page for crs, _, _ in systems.values() if crs)


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
