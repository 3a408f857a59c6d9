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

"""`uhr_seg segment` on maps: their place is kept, whatever their size, and runs go on."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import sys
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from rasters import bands_of, colored, CORNER, PIXEL, read_map, write_raster
from tiny_bundle import paint, SMALL_MB, TINY_CLASSES
import yaml

from uhr_seg_ros.cli.main import main
from uhr_seg_ros.cli.segment_rasters import RasterSegmentation
from uhr_seg_ros.image_io import raster_polygons
from uhr_seg_ros.image_io.raster_writing import WorkMap
from uhr_seg_ros.pipelines import raster_tokens
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.raster_two_branch import TwoBranchBlocks
from uhr_seg_ros.pipelines.segmenter import Segmenter

rasterio = pytest.importorskip('rasterio', reason='rasters are read by rasterio')
pytest.importorskip('rasterio.shutil', reason='files are copied by rasterio')


def segment(bundle: Path, output: Path, *words: object) -> int:
    options = ('--bundle', bundle, '--output', output, '--backend', 'onnxruntime')
    return main(['segment', *map(str, (*words, *options))])


def stripes(height: int, width: int) -> np.ndarray:
    """Return a mask (H, W) of bands in the classes of the tiny bundle."""
    return (np.add.outer(np.zeros(height, int), np.arange(width) // 40) % 3).astype(np.uint8)


def test_a_map_goes_in_and_a_map_comes_out(tiny_bundle: Path, tmp_path: Path) -> None:
    mask = stripes(600, 700)
    (tmp_path / 'in').mkdir()
    path = write_raster(tmp_path / 'in' / 'ortho.tif', bands_of(paint(mask)))
    assert segment(tiny_bundle, tmp_path / 'out', path, '--confidence') == 0
    beside = {'summary.csv', '.uhr_seg_segment.jsonl'}
    assert {*os.listdir(tmp_path / 'out')} - beside == {
        'ortho_mask.tif',
        'ortho_mask.tif.aux.xml',
        'ortho_confidence.tif',
        'ortho_overlay.jpg',
    }
    assert os.listdir(path.parent) == ['ortho.tif']
    with rasterio.open(path) as file, rasterio.open(tmp_path / 'out' / 'ortho_mask.tif') as found:
        assert (found.crs, found.transform) == (file.crs, file.transform)
        assert (found.nodata, found.dtypes, found.overviews(1)) == (255, ('uint8',), [2])
        assert found.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
        assert found.colormap(1)[1][:3] == TINY_CLASSES.colors[1]
        assert found.tags()['CLASS_2'] == 'blue'
        assert (found.read(1) == mask).all()
    # What GDAL hands on to a copy, it has read.
    rasterio.shutil.copy(tmp_path / 'out' / 'ortho_mask.tif', tmp_path / 'copy.tif')
    copied = ElementTree.parse(tmp_path / 'copy.tif.aux.xml').iter('Category')
    assert [each.text for each in copied] == list(TINY_CLASSES.names)
    assert read_map(tmp_path / 'out' / 'ortho_confidence.tif').min() > 100
    assert cv2.imread(str(tmp_path / 'out' / 'ortho_overlay.jpg')).shape == (600, 700, 3)
    rows = (tmp_path / 'out' / 'summary.csv').read_text().splitlines()
    area = dict(zip(rows[0].split(','), rows[1].split(','), strict=True))
    assert float(area['green_m2']) == pytest.approx((mask == 1).sum() * PIXEL**2)


@pytest.mark.parametrize('confidence', [False, True])
def test_blocks_are_those_of_the_whole_frame(
    far_bundle: Path, tmp_path: Path, confidence: bool
) -> None:
    """Not a pixel differs from the frame in one piece, tiled as it is by itself."""
    image = colored(1165, 1290)
    path = write_raster(tmp_path / 'ortho.tif', bands_of(image))
    words = ['--memory-limit-mb', SMALL_MB, *(['--confidence'] if confidence else [])]
    assert segment(far_bundle, tmp_path / 'out', path, *words) == 0
    with Segmenter(far_bundle, 'onnxruntime', TilingOptions(SMALL_MB)) as segmenter:
        whole = segmenter(image, confidence=confidence)
    with Segmenter(far_bundle, 'onnxruntime') as segmenter:
        assert (segmenter(image).mask != whole.mask).any(), 'tiles make no difference here'
    assert (read_map(tmp_path / 'out' / 'ortho_mask.tif') == whole.mask).all()
    if confidence:
        found = read_map(tmp_path / 'out' / 'ortho_confidence.tif')
        assert (found == whole.confidence).all()


def test_a_map_smaller_than_a_tile(tiny_bundle: Path, tmp_path: Path) -> None:
    """Also smaller than what the network reduces to a pixel."""
    paths = [
        write_raster(tmp_path / f'{height}x{width}.tif', bands_of(paint(stripes(height, width))))
        for height, width in ((37, 90), (1, 200), (3, 2))
    ]
    assert segment(tiny_bundle, tmp_path / 'out', *paths) == 0
    for path in paths:
        found = read_map(tmp_path / 'out' / f'{path.stem}_mask.tif')
        assert (found == stripes(*found.shape)).all()


def test_semantic_windows_where_memory_ends(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokens of the tiny bundle are local, so windows of them give what the whole gives."""
    image = colored(1100, 1250)
    path = write_raster(tmp_path / 'ortho.tif', bands_of(image))
    monkeypatch.setattr(raster_tokens, 'SEMANTIC_RATIO', 1e5)
    monkeypatch.setattr(raster_tokens, '_BAND', 256)
    seen = []
    tokens = raster_tokens.TwoBranch.tokens_of
    monkeypatch.setattr(
        raster_tokens.TwoBranch,
        'tokens_of',
        lambda self, low_res: seen.append(low_res.shape) or tokens(self, low_res),
    )
    kept, keep = [], Segmenter.keep_memory
    monkeypatch.setattr(
        Segmenter, 'keep_memory', lambda self, keeps: kept.append(keeps) or keep(self, keeps)
    )
    assert segment(tiny_bundle, tmp_path / 'out', path, '--memory-limit-mb', SMALL_MB) == 0
    assert len(seen) == 9
    # The overlay and the COG have the memory of the tiles.
    assert kept == [*[True] * (len(kept) - 2), False, True] and len(kept) > 4
    with Segmenter(tiny_bundle, 'onnxruntime') as segmenter:
        whole = segmenter(image).mask
    assert (read_map(tmp_path / 'out' / 'ortho_mask.tif') != whole).mean() < 1e-6


@pytest.mark.parametrize('is_power_lost', [False, True])
def test_interrupted_and_gone_on_with(
    far_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_power_lost: bool,
) -> None:
    path = write_raster(tmp_path / 'ortho.tif', bands_of(colored(1165, 1290)))
    words = path, '--memory-limit-mb', SMALL_MB
    assert segment(far_bundle, tmp_path / 'undisturbed', *words) == 0
    run, write, ran, written = TwoBranchBlocks.run, WorkMap.write, [], []

    def stop_at_the_sixth(self: WorkMap, *values: object) -> None:
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(self)
        write(self, *values)

    with monkeypatch.context() as patch:
        patch.setattr(WorkMap, 'write', stop_at_the_sixth)
        assert segment(far_bundle, tmp_path / 'out', *words) == 130
    assert '--resume goes on' in capsys.readouterr().err
    assert not (tmp_path / 'out' / 'ortho_mask.tif').exists()
    work = tmp_path / 'out' / '.ortho_raster'
    if is_power_lost:
        for strip in work.glob('*.npz'):
            strip.write_bytes(b'')
    monkeypatch.setattr(
        TwoBranchBlocks, 'run', lambda self, block: ran.append(block.index) or run(self, block)
    )
    assert segment(far_bundle, tmp_path / 'out', *words, '--resume') == 0
    assert ran[0] == 5
    assert not work.exists()
    for name in ('ortho_mask.tif', 'ortho_overlay.jpg'):
        found, expected = ((tmp_path / each / name) for each in ('out', 'undisturbed'))
        assert found.read_bytes() == expected.read_bytes()
    ran.clear()
    assert segment(far_bundle, tmp_path / 'out', *words, '--resume') == 0
    assert not ran
    assert '1 done before' in capsys.readouterr().out


def test_what_is_transparent_has_no_class(tiny_bundle: Path, tmp_path: Path) -> None:
    mask = stripes(1100, 1200)
    alpha = np.full((1, *mask.shape), 255, np.uint8)
    alpha[:, :700, :620] = 0  # more than a block
    values = np.concatenate((bands_of(paint(mask)), alpha))
    path = write_raster(tmp_path / 'ortho.tif', values, photometric='rgb', alpha='yes')
    assert segment(tiny_bundle, tmp_path / 'out', path, '--memory-limit-mb', SMALL_MB) == 0
    mask[:700, :620] = 255
    found = read_map(tmp_path / 'out' / 'ortho_mask.tif')
    assert (found == mask)[mask == 255].all()
    assert (found != mask).mean() < 1e-3  # the last cells in the next block see an empty one


def test_a_damaged_block_has_no_class(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = stripes(600, 700)
    path = write_raster(tmp_path / 'ortho.tif', bands_of(paint(mask)), photometric='rgb')
    with rasterio.open(path) as file:
        place = int(file.get_tag_item('BLOCK_OFFSET_1_1', 'TIFF', bidx=1))
    with path.open('r+b') as file:
        file.seek(place)
        file.write(b'\xff' * 40)
    assert segment(tiny_bundle, tmp_path / 'out', path) == 1
    texts = capsys.readouterr()
    assert '1 blocks of ' in texts.err and 'cannot be read: they have no class' in texts.err
    assert '1 segmented, 0 unreadable, 1 with damaged blocks' in texts.out
    mask[256:512, 256:512] = 255
    found = read_map(tmp_path / 'out' / 'ortho_mask.tif')
    assert (found == mask)[mask == 255].all()
    assert (found != mask).mean() < 0.01  # black borders on it


def test_a_truncated_file_is_left_out(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_raster(tmp_path / 'b.tif', bands_of(paint(stripes(300, 300))))
    cut = tmp_path / 'a.vrt', tmp_path / 'c.tif'
    cut[0].write_text('<VRTDataset rasterXSize="3"')
    cut[1].write_bytes(whole.read_bytes()[:100])  # not even its header
    assert segment(tiny_bundle, tmp_path / 'out', *cut, whole) == 1
    err = capsys.readouterr().err
    assert all(f'{path} cannot be read as a raster' in err for path in cut)
    assert {'b_mask.tif'} == {each.name for each in (tmp_path / 'out').glob('*_mask.tif')}


def test_what_is_left_of_a_truncated_file(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = stripes(600, 700)
    image = paint(mask) // 2 + np.random.default_rng(0).integers(0, 9, (600, 700, 1), np.uint8)
    path = write_raster(tmp_path / 'ortho.tif', bands_of(image), interleave='pixel')
    with rasterio.open(path) as file:
        place = int(file.get_tag_item('BLOCK_OFFSET_0_2', 'TIFF', bidx=1))
    path.write_bytes(path.read_bytes()[:place])
    assert segment(tiny_bundle, tmp_path / 'out', path) == 1
    assert '3 blocks of ' in capsys.readouterr().err
    found = read_map(tmp_path / 'out' / 'ortho_mask.tif')
    assert (found[512:] == 255).all()
    assert (found == mask)[:448].all()  # black borders on what follows


def test_bigtiff_and_jpeg_2000(tiny_bundle: Path, tmp_path: Path) -> None:
    mask = stripes(300, 320)
    big = write_raster(tmp_path / 'big.tif', bands_of(paint(mask)), BIGTIFF='YES')
    assert big.read_bytes()[:4] == b'II+\0'
    with rasterio.Env() as env:
        has_jpeg_2000 = 'JP2OpenJPEG' in env.drivers()
    paths = [big]
    if has_jpeg_2000:
        paths.append(tmp_path / 'wave.jp2')
        rasterio.shutil.copy(big, paths[-1], driver='JP2OpenJPEG', QUALITY='100', REVERSIBLE='YES')
    assert segment(tiny_bundle, tmp_path / 'out', *paths) == 0
    for path in paths:
        with rasterio.open(tmp_path / 'out' / f'{path.stem}_mask.tif') as found:
            assert found.crs == 'EPSG:32632' and found.transform.a == PIXEL
            assert (found.read(1) == mask).all()


def test_turned_and_without_coordinates(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = bands_of(paint(stripes(100, 200)))
    turned = rasterio.Affine(0.3, -0.4, CORNER[0], -0.4, -0.3, CORNER[1])
    paths = [
        write_raster(tmp_path / 'turned.tif', values, transform=turned),
        write_raster(tmp_path / 'nowhere.tif', values, crs=None, photometric='rgb'),
    ]
    assert segment(tiny_bundle, tmp_path / 'out', *paths) == 0
    with rasterio.open(tmp_path / 'out' / 'turned_mask.tif') as file:
        assert file.transform.almost_equals(turned)
    err = capsys.readouterr().err
    assert 'nowhere.tif has no coordinates: its mask has none either' in err
    assert 'nowhere.tif: its georeference names no coordinate system' in err
    summary = (tmp_path / 'out' / 'summary.csv').read_text()
    assert ',200,100,0.25,' in summary and ',200,100,,' in summary


def test_bands_and_values_by_rules(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = stripes(120, 240)
    red, green, blue = bands_of(paint(mask)).astype(np.uint16) * 16 + 5
    path = write_raster(tmp_path / 'deep.tif', np.stack((blue, green, red, red // 3)))
    assert segment(tiny_bundle, tmp_path / 'a', path, '--bands', '3,2,1') == 1
    assert 'its bands are uint16, expected uint8: --stretch percentile' in capsys.readouterr().err
    for stretch in ('percentile', '5,4085'):
        words = '--bands', '3,2,1', '--stretch', stretch
        assert segment(tiny_bundle, tmp_path / stretch, path, *words) == 0
        assert (read_map(tmp_path / stretch / 'deep_mask.tif') == mask).all()
    trained = shutil.copytree(tiny_bundle, tmp_path / 'trained')
    content = yaml.safe_load((trained / 'model.yaml').read_text())
    content['provenance'] = {'bands': [3, 2, 1], 'stretch': [5, 4085]}
    (trained / 'model.yaml').write_text(yaml.safe_dump(content))
    assert segment(trained, tmp_path / 'c', path) == 0
    assert (read_map(tmp_path / 'c' / 'deep_mask.tif') == mask).all()
    assert segment(tiny_bundle, tmp_path / 'b', path, '--bands', '5') == 1
    assert 'deep.tif has 4 bands, --bands wants 5' in capsys.readouterr().err
    for words, text in (
        (('--bands', '1,2'), "'1,2' names no bands"),
        (('--stretch', '9,9'), "'9,9' is no rule"),
    ):
        with pytest.raises(SystemExit):
            segment(tiny_bundle, tmp_path / 'b', path, *words)
        assert text in capsys.readouterr().err


def test_too_little_memory(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_raster(tmp_path / 'ortho.tif', bands_of(paint(stripes(100, 100))))
    assert segment(tiny_bundle, tmp_path / 'out', path, '--raster-memory-mb', 451) == 1
    assert '--raster-memory-mb 451 is too small for tiny: windows of' in capsys.readouterr().err


def test_options_of_frames(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What fits a frame is segmented as before; what does not is refused."""
    path = write_raster(tmp_path / 'ortho.tif', bands_of(paint(stripes(100, 100))))
    assert segment(tiny_bundle, tmp_path / 'a', path, '--save-logits') == 0
    assert (tmp_path / 'a' / 'ortho_mask.png').is_file()
    text = 'its mask is a picture without coordinates: --save-logits is of frames'
    assert text in capsys.readouterr().err
    assert segment(tiny_bundle, tmp_path / 'b', path, '--save-logits', '--bands', '1') == 1
    assert 'is segmented by windows, and --save-logits is not' in capsys.readouterr().err


def test_without_rasterio(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = write_raster(tmp_path / 'ortho.tif', bands_of(paint(stripes(100, 100))))
    monkeypatch.setitem(sys.modules, 'rasterio', None)
    assert segment(tiny_bundle, tmp_path / 'out', path) == 0
    assert (tmp_path / 'out' / 'ortho_mask.png').is_file()
    err = capsys.readouterr().err
    assert 'its mask is a picture without coordinates' in err
    assert 'pip install rasterio' in err
    assert segment(tiny_bundle, tmp_path / 'out', path, '--bands', 1) == 2
    assert '--bands needs rasterio' in capsys.readouterr().err


def test_photographs_stay_on_their_path(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(RasterSegmentation, 'segment')
    cv2.imwrite(str(tmp_path / 'a.png'), paint(stripes(16, 80)))
    cv2.imwrite(str(tmp_path / 'b.tif'), paint(stripes(16, 80)))
    assert segment(tiny_bundle, tmp_path / 'out', tmp_path / 'a.png', tmp_path / 'b.tif') == 0


def test_polygons_and_confidence_of_them(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in several parts is one polygon; layers are rasters, and runs give one file."""
    shapely = pytest.importorskip('shapely', reason='polygons are made with shapely')
    pyogrio = pytest.importorskip('pyogrio', reason='polygons are written by pyogrio')
    monkeypatch.setattr(raster_polygons, 'PART', 64)
    mask = np.zeros((160, 200), np.uint8)
    mask[20:140, 40:160] = 1
    mask[60:100, 80:120] = 2
    paths = [
        write_raster(tmp_path / f'{name}.tif', bands_of(paint(mask)), nodata=77)
        for name in ('north', 'south')
    ]
    for output in ('a', 'b'):
        words = '--polygons', tmp_path / f'{output}.gpkg'
        assert segment(tiny_bundle, tmp_path / output, *paths, *words) == 0
    assert (tmp_path / 'a.gpkg').read_bytes() == (tmp_path / 'b.gpkg').read_bytes()
    assert pyogrio.list_layers(tmp_path / 'a.gpkg')[:, 0].tolist() == ['north', 'south']
    meta, _, shapes, (names, areas, means) = pyogrio.raw.read(tmp_path / 'a.gpkg', layer='south')
    assert 'UTM zone 32N' in str(meta['crs']) or '32632' in str(meta['crs'])
    found = read_map(tmp_path / 'a' / 'north_mask.tif')
    for index, name in enumerate(('red', 'green', 'blue')):
        (number,) = np.flatnonzero(names == name)
        assert areas[number] == pytest.approx((found == index).sum() * PIXEL**2)
        assert 0.3 < means[number] <= 1
    hole = shapely.from_wkb(shapes[list(names).index('blue')])
    assert shapely.area(hole) == pytest.approx((found == 2).sum() * PIXEL**2, rel=0.06)
    assert hole.centroid.x == pytest.approx(CORNER[0] + 100 * PIXEL, abs=0.01)
    assert not (tmp_path / 'a' / 'north_confidence.tif').exists()


def test_seen_at_another_resolution(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = stripes(300, 402)
    path = write_raster(tmp_path / 'ortho.tif', bands_of(paint(mask)))
    for meters in (1, 0.25, 1.3):
        out = tmp_path / str(meters)
        assert segment(tiny_bundle, out, path, '--target-resolution', meters) == 0
        found = read_map(out / 'ortho_mask.tif')
        assert found.shape == mask.shape
        assert (found != mask).mean() < 0.05
    photo = tmp_path / 'photo.png'
    cv2.imwrite(str(photo), paint(mask))
    assert segment(tiny_bundle, tmp_path / 'b', photo, '--target-resolution', 1) == 1
    assert '--target-resolution needs the size of its pixels' in capsys.readouterr().err
