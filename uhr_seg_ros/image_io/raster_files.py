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

"""Raster files: which are opened, by what, and never by way of the network."""

from __future__ import annotations

import os
from pathlib import Path
import re
from types import ModuleType

from uhr_seg_ros.core.errors import ConfigError, ImageError

#: What GDAL keeps of decoded blocks, MB; by default it would be 5 % of the machine's memory.
CACHE_MB = 96

#: How files begin -> format of GDAL. Others of its 150 may ask the network, or run programs.
_DRIVERS = {
    b'II*\0': 'GTiff',
    b'MM\0*': 'GTiff',
    b'II+\0': 'GTiff',
    b'MM\0+': 'GTiff',
    b'<VRTDataset': 'VRT',
    b'\0\0\0\x0cjP  \r\n': 'JP2OpenJPEG',
    b'\xff\x4f\xff\x51': 'JP2OpenJPEG',
    b'\x89PNG': 'PNG',
    b'\xff\xd8\xff': 'JPEG',
    b'BM': 'BMP',
}
#: Names that files have which GDAL alone reads.
GDAL_SUFFIXES = ('.vrt', '.jp2', '.j2k')

# What in a VRT names other files, and which of them are of the network.
_SOURCE = re.compile(r'<Source(?:Filename|Dataset)[^>]*>([^<]+)<')
_NETWORK = re.compile(
    r'/vsi(?:curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)|://|\b(?:WMS|WMTS|WCS|OGCAPI):', re.I
)
#: Of GDAL while a raster is read.
READ_OPTIONS = {
    'GDAL_CACHEMAX': CACHE_MB,
    # Blocks are decoded side by side.
    'GDAL_NUM_THREADS': 'ALL_CPUS',
    # A second net below `check_local`: no file of the network ends like this.
    'CPL_VSIL_CURL_ALLOWED_EXTENSIONS': '.none',
    'GDAL_HTTP_MAX_RETRY': 0,
    # Nor does a VRT run code.
    'GDAL_VRT_ENABLE_PYTHON': 'NO',
}


def rasterio_or_error(what: str) -> ModuleType:
    """
    Import rasterio.

    Args:
        what: begins the text of the error.

    Raises:
        ConfigError: it is missing; says how to get it.

    """
    try:
        import rasterio
    except ImportError as err:
        msg = f'{what} needs rasterio ({err}): pip install rasterio'
        raise ConfigError(msg) from err
    return rasterio


def raster_driver(path: Path) -> str:
    """Return which format of GDAL a file has by its content; empty: none that is read."""
    try:
        with path.open('rb') as file:
            head = file.read(64).lstrip(b'\xef\xbb\xbf \r\n\t')
    except OSError as err:
        msg = f'{path} cannot be read: {err.strerror}'
        raise ImageError(msg) from err
    return next((name for magic, name in _DRIVERS.items() if head.startswith(magic)), '')


def check_local(path: Path, seen: frozenset[str] = frozenset()) -> None:
    """
    Refuse a VRT that leads to the network, by way of other ones too.

    Raises:
        ImageError: names where it leads to.

    """
    place = os.path.abspath(path)
    if place in seen or raster_driver(path) != 'VRT':
        return
    try:
        text = Path(place).read_text(encoding='utf-8', errors='replace')
    except OSError as err:
        msg = f'{path} cannot be read: {err.strerror}'
        raise ImageError(msg) from err
    for source in map(str.strip, _SOURCE.findall(text)):
        if _NETWORK.search(source):
            msg = (
                f'{path} leads to {source}, and nothing is fetched from the network here: '
                'download it, and let the VRT name the local file'
            )
            raise ImageError(msg)
        inner = Path(os.path.join(os.path.dirname(place), source))
        if inner.is_file():
            check_local(inner, seen | {place})
