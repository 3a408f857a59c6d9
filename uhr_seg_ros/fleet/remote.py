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

"""Inputs behind an address such as `s3://bucket/flights/*.mcap`, read by way of fsspec."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import glob
from pathlib import Path
import posixpath
import re
from tempfile import TemporaryDirectory
from typing import Any

from uhr_seg_ros.core.errors import ConfigError, RecordingError, UhrSegError
from uhr_seg_ros.fleet.units import digest

#: What an address may begin with -> package that fsspec needs for it.
PROTOCOLS = {'s3': 's3fs', 'gs': 'gcsfs'}

_URL = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*(?:::[A-Za-z0-9+.-]+)*)://')
# What of the properties of an object changes with its content.
_CHANGING = ('ETag', 'etag', 'md5Hash', 'generation', 'LastModified', 'updated', 'mtime', 'size')


def protocol_of(text: str) -> str:
    """Return what an address begins with, such as `s3`; empty for a path."""
    match = _URL.match(text)
    return match[1].lower() if match else ''


def list_objects(url: str) -> list[tuple[str, str]]:
    """
    Find the objects of an address: one, those of a folder or those of a pattern.

    Returns:
        Address and fingerprint of each, in the order of their names.

    Raises:
        RecordingError: there are none, or the store does not answer.
        ConfigError: fsspec, or what it needs for this address, is missing.

    """
    protocol = protocol_of(url)
    store = _open_store(url)
    place = url.partition('://')[2]
    try:
        if glob.has_magic(place):
            found = store.glob(place, detail=True)
        elif store.isdir(place):
            found = {each['name']: each for each in store.ls(place, detail=True)}
        elif store.exists(place):
            found = {place: store.info(place)}
        else:
            found = {}
    except Exception as err:  # of whatever library the store has
        msg = f'{url} cannot be listed: {_reason(err)}'
        raise RecordingError(msg) from err
    objects = [
        (f'{protocol}://{name.lstrip("/")}', _fingerprint(info))
        for name, info in sorted(found.items())
        if info.get('type') == 'file' and not posixpath.basename(name).startswith('.')
    ]
    if not objects:
        msg = f'no such object: {url}'
        raise RecordingError(msg)
    return objects


@contextmanager
def downloaded(url: str, cache: str = '') -> Iterator[Path]:
    """
    Copy an object to the disk while the block runs.

    Args:
        url: of one object.
        cache: folder in which the copy lies; empty: that of temporary files.

    Raises:
        RecordingError: it cannot be read.

    """
    store = _open_store(url)
    if cache:
        Path(cache).mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache or None, prefix='uhr_seg_batch_') as folder:
        path = Path(folder) / posixpath.basename(url)
        try:
            store.get_file(url.partition('://')[2], str(path))
        except Exception as err:  # of whatever library the store has
            msg = f'{url} cannot be read: {_reason(err)}'
            raise RecordingError(msg) from err
        try:
            yield path
        except UhrSegError as err:  # of the copy, which nobody knows
            text = str(err)
            if str(path) not in text:
                raise
            raise type(err)(text.replace(str(path), url)) from err


def _open_store(url: str) -> Any:
    protocol = protocol_of(url)
    if protocol not in PROTOCOLS:
        known = ', '.join(f'{each}://' for each in ('file', *PROTOCOLS))
        msg = f'{url} begins with an address that is not read: expected a path, or one of {known}'
        raise ConfigError(msg)
    try:
        import fsspec

        return fsspec.filesystem(protocol)
    except ImportError as err:
        package = PROTOCOLS[protocol]
        msg = f'{url} is read by way of fsspec and {package} ({err}): pip install {package}'
        raise ConfigError(msg) from err
    except Exception as err:  # such as credentials that are not there
        msg = f'{url} cannot be opened: {_reason(err)}'
        raise RecordingError(msg) from err


def _fingerprint(info: dict[str, Any]) -> str:
    return digest([str(info.get(name, '')) for name in _CHANGING])[:24]


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
