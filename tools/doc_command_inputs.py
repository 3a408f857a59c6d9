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

"""Make small inputs of the names that documents use: pictures, recordings, data sets, recipes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
import json
from pathlib import Path
import re
import shutil
from typing import Any
import zipfile

import cv2
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import tifffile
import yaml

from tools.doc_commands import ROOT
from uhr_seg_ros.benchmark.labeled_flight import FlightOptions, record_labeled_flight
from uhr_seg_ros.core.classes import CLASS_SETS, ClassSet
from uhr_seg_ros.synthetic.scenes import generate_scene

#: Height and width of pictures, px.
SIDE = (192, 256)

#: Single pictures, by the names of the documents.
PICTURES = ('a.jpg', 'b.jpg', 'c.jpg', 'field.jpg', 'frame.jpg', 'mosaic.jpg', 'TILE')

#: Folders of pictures without labels.
FOLDERS = (
    'FOLDER',
    'TRAINED_ON',
    'OTHER_GROUND',
    'TRAINING_MOSAICS',
    'MOSAICS_4_7_8',
    'mosaics_4_6_7_8',
    'mosaic_2',
    'mosaic_5',
    'fields',
)

#: Recordings of a generated flight: with the suffix of a file, or a folder.
RECORDINGS = ('flight', 'flight_bag', 'A_FLIGHT', 'my_flight.mcap', 'flight.mcap')

#: Fields of a recipe that only say how long it takes.
SHORT = {
    'steps': 2,
    'batch': 2,
    'crop': 64,
    'warmup': 0,
    'validate_every': 2,
    'checkpoint_every': 2,
    'precision': 'fp32',
}


def make_inputs(folder: Path) -> None:
    """Write everything into an empty folder; seconds."""
    for seed, name in enumerate(PICTURES):
        write_picture(folder / Path(name).with_suffix('.jpg'), seed)
    (folder / 'TILE.jpg').rename(folder / 'TILE')
    write_picture(folder / 'IMG_0001.JPG', 0)
    for seed, name in enumerate(FOLDERS):
        for number in range(3):
            write_picture(folder / name / f'{number}.jpg', 10 * seed + number)
    for name in ('a.jpg', 'b.jpg', 'north/b.jpg'):
        write_picture(folder / 'photos' / name, len(name))
    (folder / 'inputs.txt').write_text('photos\nclip.mp4\n', encoding='utf-8')
    _write_video(folder / 'clip.mp4')
    shutil.copy(folder / 'clip.mp4', folder / 'flight.mp4')
    _write_map(folder / 'ortho.tif')
    tifffile.imwrite(folder / 'deep.tif', _scene(0)[0].astype(np.uint16) << 4, photometric='rgb')
    _write_network(folder / 'unet.onnx')
    shutil.copy(folder / 'unet.onnx', folder / 'best.onnx')
    _record(folder)
    shutil.copytree(ROOT / 'models/hlrc_s_aerial', folder / 'hlrc_s_aerial')
    shutil.copy(folder / 'hlrc_s_aerial/semantic.onnx', folder / 'old.onnx')
    for name in ('run/hlrc_s_aerial', 'run/bundle', 'large'):
        shutil.copytree(folder / 'hlrc_s_aerial', folder / name)
    for path in sorted((ROOT / 'config/train').glob('*.yaml')):
        _shorten(path, folder / 'config/train' / path.name)
    for name in ('docs/results', 'docs/images'):
        (folder / name).mkdir(parents=True)
    _write_sets(folder)
    shutil.copytree(folder / 'flight', folder / 'flights/monday')


def _scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one of a few scenes and its labels; drawing takes a tenth of a second."""
    return _drawn(seed % 8)


@cache
def _drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return generate_scene(seed, *SIDE)


def write_picture(path: Path, seed: int) -> np.ndarray:
    """Write a generated picture, and return its labels."""
    image, labels = _scene(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
    return labels


def write_labels(path: Path, labels: np.ndarray) -> None:
    """Write class ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), labels)


def write_files_of(page: Path, folder: Path) -> None:
    """Write the files whose text is on a page: blocks that begin with the name as a comment."""
    text = page.read_text(encoding='utf-8')
    for block in re.finditer(r'^```\w+\n# (\w+\.(?:py|yaml))\n(.*?)^```', text, re.M | re.S):
        path = folder / block[1]
        path.write_text(block[2], encoding='utf-8')
        if path.suffix == '.yaml' and 'network' in yaml.safe_load(block[2]):
            _shorten(path, path)


def _record(folder: Path) -> None:
    """Record a flight of four frames once, and hand it on under every name."""
    first = folder / RECORDINGS[0]
    record_labeled_flight(first, FlightOptions((96, 128), 4.0, 1.0, 0))
    for name in RECORDINGS[1:]:
        if Path(name).suffix:
            shutil.copy(next(first.glob('*.mcap')), folder / name)
        else:
            shutil.copytree(first, folder / name)


def _write_video(path: Path) -> None:
    codec = cv2.VideoWriter.fourcc(*'mp4v')
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 5, SIDE[::-1])
    for seed in range(11):
        video.write(_scene(seed)[0])
    video.release()


def _write_map(path: Path) -> None:
    """Write a GeoTIFF of half a meter per pixel, in UTM zone 32N."""
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32632)
    tags: list[Any] = [
        (33550, 'd', 3, (0.5, 0.5, 0.0)),
        (33922, 'd', 6, (0.0, 0.0, 0.0, 5e5, 5e6, 0.0)),
        (34735, 'H', len(keys), keys),
    ]
    image = _scene(0)[0]
    tifffile.imwrite(path, image[..., ::-1], photometric='rgb', extratags=tags)


def _write_network(path: Path) -> None:
    """Write a network as somebody else exports one: for every size, and of five classes."""
    weights = np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(np.float32)
    kernels = numpy_helper.from_array(weights, 'kernels')
    image = helper.make_tensor_value_info('x', TensorProto.FLOAT, (1, 3, 'h', 'w'))
    scores = helper.make_tensor_value_info('out', TensorProto.FLOAT, (1, 5, 'h', 'w'))
    conv = helper.make_node('Conv', ['x', 'kernels'], ['out'], pads=[1, 1, 1, 1])
    graph = helper.make_graph([conv], 'network', [image], [scores], [kernels])
    opset = [helper.make_opsetid('', 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    classes = [
        {'name': name, 'color': [40 * index, 90, 160]} for index, name in enumerate('abcde')
    ]
    (path.parent / 'classes.yaml').write_text(yaml.safe_dump({'classes': classes}))


def _shorten(recipe: Path, path: Path) -> None:
    """Write a recipe that does two steps of what another one does."""
    content: dict[str, Any] = yaml.safe_load(recipe.read_text(encoding='utf-8'))
    content |= SHORT
    if content['network'].startswith('fctl'):
        content['crop'] = 384  # a patch, at least
    content['efforts'] = dict.fromkeys(content.get('efforts', {}), {})
    if content['data'].get('generated'):
        content['data']['scenes'] = 1
    if content['data'].get('hold_out'):
        content['data']['hold_out'] = 'tile6'
    if 'warped_size' in content.get('options', {}):
        content['options'] |= {'warped_size': [64, 64], 'size': [16, 16]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content), encoding='utf-8')


def _write_sets(folder: Path) -> None:
    """Write labeled data sets, each in its layout (docs/data.md)."""
    tiles = {f'tile{number}': number for number in (2, 4, 5, 6, 7, 8)}
    for name, seed in tiles.items():
        labels = write_picture(folder / f'MOSAICS/images/{name}.jpg', seed)
        write_labels(folder / f'MOSAICS/labels/{name}.png', labels)
    test = ['tile2', 'tile5']
    parts = {'train': [name for name in tiles if name not in test], 'test': test}
    (folder / 'MOSAICS/split.json').write_text(json.dumps(parts), encoding='utf-8')
    for year in range(2001, 2005):
        labels = write_picture(folder / f'FIELDS/images/fields_{year}.png', year)
        write_labels(folder / f'FIELDS/labels/fields_{year}.png', labels)
    for split in ('train', 'val', 'test'):
        for number in range(2):
            labels = write_picture(folder / f'CAMVID/{split}/images/{number}.jpg', number)
            write_labels(folder / f'CAMVID/{split}/labels/{number}.png', labels)
    _write_folder_set(folder / 'my_images', CLASS_SETS['aerial'])
    for number in range(6):
        write_picture(folder / f'flights/images/a{number:02}.png', number)
    _draw_regions(folder / 'drawn', folder / 'flights/images')
    _write_orchard(folder / 'orchard')
    _write_published(folder)


def _write_folder_set(folder: Path, classes: ClassSet) -> None:
    for number in range(6):
        labels = write_picture(folder / f'images/a{number:02}.png', number)
        write_labels(folder / f'labels/a{number:02}.png', labels)
    listed = [
        {'name': name, 'color': list(color)}
        for name, color in zip(classes.names, classes.colors, strict=True)
    ]
    (folder / 'classes.yaml').write_text(yaml.safe_dump({'classes': listed}), encoding='utf-8')


def _draw_regions(folder: Path, images: Path) -> None:
    """Write files of Labelme: stripes of the classes of docs/your_own_model.md."""
    folder.mkdir()
    height, width = SIDE
    for image in sorted(images.iterdir()):
        shapes = []
        for number, name in enumerate(('ground', 'road', 'roof', 'plants', 'water')):
            left, right = number * width // 5, (number + 1) * width // 5
            corners = [[left, 0], [right, 0], [right, height], [left, height]]
            shapes.append({'label': name, 'points': corners, 'shape_type': 'polygon'})
        content: Mapping[str, Any] = {
            'version': '5.5.0',
            'flags': {},
            'shapes': shapes,
            'imagePath': image.name,
            'imageData': None,
            'imageHeight': height,
            'imageWidth': width,
        }
        (folder / f'{image.stem}.json').write_text(json.dumps(content), encoding='utf-8')


def _write_orchard(folder: Path) -> None:
    """Write the data set of docs/extending.md."""
    for number, name in enumerate('abc'):
        labels = write_picture(folder / f'{name}.jpg', number)
        write_labels(folder / f'{name}_id.png', (labels == 1).astype(np.uint8) + 1)
    (folder / 'train.txt').write_text('a\nb\n', encoding='utf-8')
    (folder / 'test.txt').write_text('c\n', encoding='utf-8')


def _write_published(folder: Path) -> None:
    """Write a file or two of each published archive, and masks that hold no ids (docs/data.md)."""
    image, labels = _scene(0)
    write_labels(folder / 'my_masks/a.png', (labels == 0) * np.uint8(255))
    palette, street = CLASS_SETS['deepglobe'].palette_bgr(), 'train/ulm/ulm_000000_000019'
    _zip(
        folder / 'NEW2-AerialImageDataset.zip',
        {
            'AerialImageDataset/train/images/austin2.tif': image,
            'AerialImageDataset/train/gt/austin2.tif': (labels == 0) * np.uint8(255),
        },
    )
    _zip(
        folder / 'land-train.zip',
        {'land-train/119_sat.jpg': image, 'land-train/119_mask.png': palette[labels]},
    )
    tile = folder / 'Semantic segmentation dataset/Tile 4'
    write_picture(tile / 'images/image_part_001.jpg', 0)
    for kind, content in (('leftImg8bit', image), ('gtFine', labels)):
        end = kind if kind == 'leftImg8bit' else 'gtFine_labelIds'
        name = f'{kind}/{street}_{end}.png'
        _zip(folder / f'{kind}_trainvaltest.zip', {name: content})


def _zip(path: Path, images: Mapping[str, np.ndarray]) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
        for name, image in images.items():
            archive.writestr(name, cv2.imencode(Path(name).suffix, image)[1].tobytes())
