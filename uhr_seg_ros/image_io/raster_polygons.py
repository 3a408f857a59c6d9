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

"""The areas of classes of a map as polygons, through GDAL, GEOS and a GeoPackage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
import shutil
from typing import Any

import numpy as np

from uhr_seg_ros.core.atomic_io import atomic_write, check_writable
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import ConfigError, WriteError

#: Side of the parts that polygons are made of at a time, px.
PART = 4096
#: So far a simplified border may lie from the one along the pixels, px: it takes the stairs away.
TOLERANCE = 0.75

_FIELDS = ('class', 'area_m2', 'mean_confidence')


@dataclass
class _Area:
    """A polygon in px, and the sum of the confidence of its pixels, 0 to 1."""

    shape: Any
    confidence: float = 0.0


def check_polygons(path: Path) -> None:
    """
    Check before the work that polygons can be written.

    Raises:
        ConfigError: a library is missing, or the file is to be no GeoPackage.
        OSError: it cannot be written.

    """
    missing = [name for name in ('pyogrio', 'shapely') if find_spec(name) is None]
    if missing:
        msg = f'--polygons needs {" and ".join(missing)}: pip install {" ".join(missing)}'
        raise ConfigError(msg)
    if path.suffix.lower() != '.gpkg':
        msg = f'{path} is no name of a GeoPackage: let it end in .gpkg'
        raise ConfigError(msg)
    check_writable(path)


def write_polygons(
    mask: Path,
    confidence: Path | None,
    path: Path,
    layer: str,
    classes: ClassSet,
    m2_per_pixel: float,
) -> None:
    """
    Write the polygons of a map into a layer of a GeoPackage; its other layers stay.

    Args:
        mask: raster of class ids, with coordinates or without.
        confidence: raster of the same size, 0 to 255; None: it is not known.
        path: of the GeoPackage.
        layer: replaced where it is there.
        classes: names of the ids.
        m2_per_pixel: of the ground; 0 where it is not known.

    Raises:
        WriteError: it cannot be written.

    """
    import rasterio
    import shapely
    from shapely.affinity import affine_transform

    with rasterio.open(mask) as file:
        found = list(_areas(file, confidence, len(classes)))
        crs, transform = file.crs, file.transform
    matrix = [transform.a, transform.b, transform.d, transform.e, transform.c, transform.f]
    shapes, names, areas, means = [], [], [], []
    for index, area in found:
        pixels = area.shape.area
        simple = area.shape.simplify(TOLERANCE)
        simple = simple if simple.is_valid and not simple.is_empty else area.shape
        shapes.append(shapely.to_wkb(affine_transform(simple, matrix)))
        names.append(classes.names[index])
        areas.append(pixels * m2_per_pixel if m2_per_pixel else np.nan)
        means.append(area.confidence / pixels if confidence else np.nan)
    _write(path, layer, crs, shapes, (names, areas, means))


def _areas(file: Any, confidence: Path | None, classes: int) -> Iterator[tuple[int, _Area]]:
    """Yield the polygons of all classes; what lies in several parts is put together."""
    import rasterio
    import shapely

    pieces: dict[int, list[_Area]] = {}
    for top in range(0, file.height, PART):
        for left in range(0, file.width, PART):
            window = (
                (top, min(top + PART, file.height)),
                (left, min(left + PART, file.width)),
            )
            sure = None
            if confidence is not None:
                with rasterio.open(confidence) as other:
                    sure = other.read(1, window=window)
            (first, last), (begin, end) = window
            inner = shapely.box(
                begin + (begin > 0),
                first + (first > 0),
                end - (end < file.width),
                last - (last < file.height),
            )
            for index, area in _of_part(file.read(1, window=window), sure, (top, left), classes):
                if inner.covers(area.shape):
                    yield index, area
                else:
                    pieces.setdefault(index, []).append(area)
    for index, parts in sorted(pieces.items()):
        yield from ((index, area) for area in _joined(parts))


def _of_part(
    ids: np.ndarray, sure: np.ndarray | None, corner: tuple[int, int], classes: int
) -> Iterator[tuple[int, _Area]]:
    """Yield the polygons of a part whose upper left corner is at a row and a column, px."""
    from affine import Affine
    from rasterio import features
    from shapely.geometry import shape

    place = Affine.translation(corner[1], corner[0])
    found = [
        (int(value), _Area(shape(each)))
        for each, value in features.shapes(ids, mask=ids < classes, transform=place)
    ]
    if sure is not None and found:
        numbered = [(area.shape, index + 1) for index, (_, area) in enumerate(found)]
        labels = features.rasterize(numbered, ids.shape, transform=place, dtype='int32')
        sums = np.bincount(labels.ravel(), sure.ravel() / 255.0, len(found) + 1)
        for (_, area), total in zip(found, sums[1:], strict=True):
            area.confidence = float(total)
    yield from found


def _joined(pieces: list[_Area]) -> list[_Area]:
    """Put the pieces of one class together that share a border."""
    import shapely

    union = shapely.unary_union([piece.shape for piece in pieces])
    whole = [_Area(each) for each in getattr(union, 'geoms', [union])]
    tree = shapely.STRtree([each.shape for each in whole])
    points = [piece.shape.representative_point() for piece in pieces]
    for piece, inside in tree.query(points, predicate='within').T:
        whole[inside].confidence += pieces[piece].confidence
    return whole


def _write(
    path: Path, layer: str, crs: Any, shapes: list[bytes], columns: tuple[list[Any], ...]
) -> None:
    import pyogrio

    # Otherwise two runs would differ by their time.
    pyogrio.set_gdal_config_options({'OGR_CURRENT_DATE': '1970-01-01T00:00:00.000Z'})
    types = object, float, float
    values = [np.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    with atomic_write(path) as unfinished:
        if path.is_file():
            shutil.copyfile(path, unfinished)
        try:
            pyogrio.raw.write(
                unfinished,
                np.array(shapes, object),
                values,
                list(_FIELDS),
                layer=layer,
                driver='GPKG',
                geometry_type='Polygon',
                crs=crs.to_wkt() if crs else None,
            )
        except pyogrio.errors.DataSourceError as err:
            msg = f'{path} cannot be written: {err}'
            raise WriteError(msg) from err
        finally:
            pyogrio.set_gdal_config_options({'OGR_CURRENT_DATE': None})
