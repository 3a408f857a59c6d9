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

"""
Regions that people drew in other programs, as label files of a folder set.

Labelme writes a JSON file per image, CVAT one XML file ("CVAT for images 1.1"), Label Studio one
JSON file; all of them export COCO. Each reader turns its format into ``Shape`` objects. Masks of
COCO that are packed are unpacked by pycocotools.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
import json
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree

import cv2
import numpy as np

from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.core.regular_files import FileFault, read_regular
from uhr_seg_ros.core.text import listed, shown

MAX_BYTES = 1 << 30
EXPECTED = (
    'a Labelme file or folder, the XML of CVAT for images 1.1, or JSON of Label Studio or COCO'
)


class Shape(NamedTuple):
    """
    A region of one class.

    Attributes:
        label: Name of the class.
        polygons: Corners, each (N, 2) float px, x first, 0 at the left edge of the first pixel;
            what two of them share is outside, as holes are.
        mask: (h, w) bool, instead of polygons.
        place: x and y of the mask's first pixel.
    """

    label: str
    polygons: Sequence[np.ndarray] = ()
    mask: np.ndarray | None = None
    place: tuple[int, int] = (0, 0)


#: Name of an image without folders and end -> its shapes, from the lowest to the topmost.
Shapes = dict[str, list[Shape]]


def read_annotations(path: Path) -> Shapes:
    """
    Read what was drawn.

    Args:
        path: A file, or a folder of them, see ``EXPECTED``.

    Raises:
        DataError: A file cannot be read, is of no known format, or holds a kind of region that
            has no area; names it.
    """
    ends = ('.json', '.xml')
    files = sorted(p for p in path.rglob('*') if p.suffix in ends) if path.is_dir() else [path]
    if not files:
        msg = f'folder {path} holds no .json or .xml file: expected {EXPECTED}'
        raise DataError(msg)
    found: Shapes = {}
    for file in files:
        try:
            for name, shapes in _read(file):
                found.setdefault(Path(name.replace('\\', '/')).stem, []).extend(shapes)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as err:
            msg = f'{file} is damaged, or not {EXPECTED}: {err!r}'
            raise DataError(msg) from err
    return found


def draw_labels(
    shapes: Sequence[Shape], classes: ClassSet, size: tuple[int, int], background: int = UNLABELED
) -> np.ndarray:
    """
    Draw shapes over each other.

    Args:
        shapes: From the lowest to the topmost.
        classes: Whose position is the id.
        size: Height and width of the image, px.
        background: Id of what nobody drew; 255 is ignored in training.

    Returns:
        (H, W) uint8 class ids.

    Raises:
        DataError: A label is none of the classes.
    """
    labels = np.full(size, background, np.uint8)
    for shape in shapes:
        if shape.label not in classes.names:
            msg = f'the label {shown(shape.label)} is none of the classes {listed(classes.names)}'
            raise DataError(msg)
        value = classes.names.index(shape.label)
        if shape.mask is None:
            _fill(labels, shape.polygons, value)
        else:
            left, top = shape.place
            part = labels[top : top + shape.mask.shape[0], left : left + shape.mask.shape[1]]
            part[shape.mask[: part.shape[0], : part.shape[1]]] = value
    return labels


def _fill(labels: np.ndarray, polygons: Sequence[np.ndarray], value: int) -> None:
    """
    Paint the pixels whose centers are inside: cv2.fillPoly would paint the border, too.

    Left of a center inside, an odd number of sides cross its row.
    """
    corners = np.concatenate(polygons)
    height, width = labels.shape
    top, bottom = (int(np.clip(y, 0, height)) for y in _first_center(_ends(corners[:, 1])))
    left, right = (int(np.clip(x, 0, width)) for x in _first_center(_ends(corners[:, 0])))
    crossed = np.zeros((bottom - top, right - left + 1), np.int32)
    for polygon in polygons:
        for (x, y), (next_x, next_y) in zip(polygon, np.roll(polygon, -1, 0), strict=True):
            first, last = _first_center(np.array(sorted((y, next_y))))
            rows = np.arange(max(int(first), top), min(int(last), bottom))
            if rows.size:
                crossings = x + (rows + 0.5 - y) * (next_x - x) / (next_y - y)
                columns = np.clip(_first_center(crossings), left, right).astype(int)
                np.add.at(crossed, (rows - top, columns - left), 1)
    labels[top:bottom, left:right][(np.cumsum(crossed, 1) % 2 == 1)[:, :-1]] = value


def _ends(values: np.ndarray) -> np.ndarray:
    return np.array([values.min(), values.max()])


def _first_center(places: np.ndarray) -> np.ndarray:
    """Return the first pixel whose center is at a place or behind it, as its number."""
    return np.ceil(places - 0.5)


def _read(path: Path) -> Iterator[tuple[str, list[Shape]]]:
    try:
        content = read_regular(path, MAX_BYTES)
    except FileFault as err:
        msg = f'annotations {err}'
        raise DataError(msg) from err
    if content.lstrip()[:1] == b'<':
        yield from _cvat(content, path)
        return
    found = json.loads(content)
    if isinstance(found, dict) and 'shapes' in found:
        yield (
            str(found.get('imagePath') or path.name),
            [_labelme(each, path) for each in found['shapes']],
        )
    elif isinstance(found, dict) and 'annotations' in found and 'images' in found:
        yield from _coco(found)
    elif isinstance(found, list):
        for task in found:
            yield _label_studio(task, path)
    else:
        msg = f'{path} is not {EXPECTED}'
        raise DataError(msg)


def _labelme(shape: Mapping[str, Any], path: Path) -> Shape:
    label, kind = shape['label'], shape.get('shape_type') or 'polygon'
    points = np.array(shape['points'], float).reshape(-1, 2)
    if kind == 'mask':
        content = np.frombuffer(base64.b64decode(shape['mask']), np.uint8)
        mask = np.asarray(cv2.imdecode(content, cv2.IMREAD_UNCHANGED)) > 0
        return Shape(label, (), mask, (round(points[0, 0]), round(points[0, 1])))
    makers: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        'polygon': lambda corners: corners,
        'rectangle': lambda two: _box(*two[0], *two[1]),
        'circle': lambda two: _circle(two[0], float(np.hypot(*(two[1] - two[0])))),
    }
    if kind not in makers:
        raise _without_area(path, kind)
    return Shape(label, [makers[kind](points)])


def _cvat(content: bytes, path: Path) -> Iterator[tuple[str, list[Shape]]]:
    if b'<!ENTITY' in content:
        msg = f'{path} defines entities, which no export of CVAT does: it is not read'
        raise DataError(msg)
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - without entities, see above
    except ElementTree.ParseError as err:
        msg = f'{path} is not XML ({err})'
        raise DataError(msg) from err
    images = root.findall('image')
    if root.tag != 'annotations' or not images:
        msg = f'{path} is not "CVAT for images 1.1": export the task in this format, or as COCO'
        raise DataError(msg)
    for image in images:
        drawn = [each for each in image if each.tag not in ('tag',)]
        drawn.sort(key=lambda each: int(each.get('z_order', '0')))
        yield image.attrib['name'], [_cvat_shape(each, path) for each in drawn]


def _cvat_shape(shape: ElementTree.Element, path: Path) -> Shape:
    given = shape.attrib
    if shape.tag == 'polygon':
        pairs = [pair.split(',') for pair in given['points'].split(';')]
        return Shape(given['label'], [np.array(pairs, float)])
    if shape.tag == 'box':
        sides = (float(given[name]) for name in ('xtl', 'ytl', 'xbr', 'ybr'))
        return Shape(given['label'], [_box(*sides)])
    if shape.tag == 'mask':
        height, width = int(given['height']), int(given['width'])
        runs = [int(run) for run in given['rle'].split(',')]
        mask = _from_runs(runs, height * width).reshape(height, width)
        return Shape(given['label'], (), mask, (int(given['left']), int(given['top'])))
    raise _without_area(path, shape.tag)


def _label_studio(task: Mapping[str, Any], path: Path) -> tuple[str, list[Shape]]:
    data = task['data']
    urls = [value for value in data.values() if isinstance(value, str) and '.' in value]
    name = unquote(str(data.get('image', urls[0] if urls else '')).rpartition('?')[2])
    name = name.removeprefix('d=')
    shapes = []
    for result in task['annotations'][0]['result'] if task['annotations'] else ():
        kind, value = result['type'], result['value']
        if kind in ('choices', 'relation'):
            continue
        scale = np.array([result['original_width'], result['original_height']]) / 100
        if kind in ('polygonlabels', 'polygon'):
            corners = np.array(value['points'], float) * scale
        elif kind in ('rectanglelabels', 'rectangle') and not value.get('rotation'):
            left, top = value['x'], value['y']
            corners = _box(left, top, left + value['width'], top + value['height']) * scale
        else:
            raise _without_area(path, kind)
        labels = value.get('polygonlabels') or value.get('rectanglelabels') or value['labels']
        shapes.append(Shape(labels[0], [corners]))
    return _without_upload(name), shapes


def _without_upload(name: str) -> str:
    """Take off what Label Studio puts before the name of an uploaded file: 8 hex digits and -."""
    stem = Path(name).name
    head, dash, rest = stem.partition('-')
    is_upload = dash and len(head) == 8 and all(c in '0123456789abcdef' for c in head)
    return rest if is_upload else stem


def _coco(content: Mapping[str, Any]) -> Iterator[tuple[str, list[Shape]]]:
    names = {each['id']: each['name'] for each in content['categories']}
    drawn: dict[Any, list[Shape]] = {each['id']: [] for each in content['images']}
    for each in content['annotations']:
        drawn[each['image_id']].append(
            _coco_shape(names[each['category_id']], each['segmentation'])
        )
    for image in content['images']:
        yield _without_upload(Path(image['file_name']).name), drawn[image['id']]


def _coco_shape(label: str, segmentation: Any) -> Shape:
    if isinstance(segmentation, list):
        return Shape(label, [np.array(each, float).reshape(-1, 2) for each in segmentation])
    height, width = segmentation['size']
    if isinstance(segmentation['counts'], list):
        mask = _from_runs(segmentation['counts'], height * width).reshape(width, height).T
    else:
        # Only packed masks need it.
        from pycocotools import mask as packed

        mask = packed.decode(segmentation).astype(bool)
    return Shape(label, (), mask)


def _from_runs(runs: Sequence[int], size: int) -> np.ndarray:
    """Lengths of runs, outside first -> (size,) bool."""
    if sum(runs) != size:
        msg = f'runs of a mask cover {sum(runs)} of {size} px'
        raise ValueError(msg)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)


def _box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def _circle(center: np.ndarray, radius: float) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return center + radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def _without_area(path: Path, kind: str) -> DataError:
    return DataError(
        f'{path} has a region of kind {shown(kind)}: draw polygons, rectangles or masks; of brush '
        'strokes in Label Studio export COCO'
    )
