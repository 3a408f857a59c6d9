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

"""Write rosbag2 recordings, one message in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack, suppress
from pathlib import Path
import sqlite3
from types import TracebackType
from typing import Any, Final

import numpy as np
from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.geometry.camera import Camera
from uhr_seg_ros.replay.bags import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    full_type,
    IMAGE,
    POINT_CLOUD,
)
from uhr_seg_ros.replay.partial import PartialFolder

STORAGES = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}

# The newest metadata version that Humble reads too.
_METADATA_VERSION: Final = 8

_STRING, _TF = 'std_msgs/msg/String', 'tf2_msgs/msg/TFMessage'

# Of sensor_msgs/PointField.
_FLOAT32 = 7

# REP-2011: version of the hash of a type, and the hash where nothing is known about it.
_UNKNOWN_DIGEST = f'RIHS01_{0:064x}'


class BagTimeError(RecordingError):
    """A message whose time of recording cannot be stored; what was written before stays."""


class BagWriter:
    """
    Write images, and messages of other recordings.

    The recording stands under its name when it is closed, whole. As a context manager it is
    removed when the block ends in an exception, also one of Ctrl-C.

    Example:
        >>> with BagWriter(Path('flight'), topic='/image_raw') as bag:
        ...     bag.write(frame, stamp_ns=0)

    Args:
        path: folder to make; it must not exist.
        topic: where `write` puts its frames.
        frame_id: frame of the camera of `write`.
        storage: `mcap` or `sqlite3`.
        mark: name of an empty file to make beside the storage; empty: none.

    Raises:
        RecordingError: the folder exists, another process is writing it, or it cannot be
            written, as when the disk is full.

    """

    def __init__(
        self,
        path: Path,
        *,
        topic: str = '/image_raw',
        frame_id: str = 'camera_optical_frame',
        storage: str = 'mcap',
        mark: str = '',
    ) -> None:
        self._path = path
        self._topic = topic
        self._frame_id = frame_id
        self._types = get_typestore(Stores.ROS2_HUMBLE)
        self._connections: dict[tuple[str, str], Connection] = {}
        self._undo = ExitStack()
        with self._writing():
            self._folder = PartialFolder(path)
            self._undo.callback(self._folder.discard)
            # The storage is named after the folder, so this has its final name already.
            self._writer = Writer(
                self._folder.path, version=_METADATA_VERSION, storage_plugin=STORAGES[storage]
            )
            self._undo.callback(self._abort)
            self._writer.open()
            if mark:
                (self._folder.path / mark).touch()

    def write(self, frame: np.ndarray, stamp_ns: int) -> None:
        """Add a frame (H, W, 3) uint8 BGR, recorded at its stamp in ns."""
        self.write_picture(self._topic, frame, 'bgr8', stamp_ns)

    def write_picture(self, topic: str, array: np.ndarray, encoding: str, stamp_ns: int) -> None:
        """Add an image of the camera of `write`, recorded at its stamp; see `write_image`."""
        self.write_image(topic, array, encoding, self._header(stamp_ns, self._frame_id), stamp_ns)

    def write_compressed(
        self, topic: str, data: np.ndarray, encoding: str, suffix: str, stamp_ns: int
    ) -> None:
        """
        Add a compressed image of the camera of `write`, recorded at its stamp.

        Args:
            topic: its topic.
            data: (N,) uint8, a file of it.
            encoding: of its pixels, such as `mono8`.
            suffix: of the file, `.jpg` or `.png`.
            stamp_ns: ns.

        """
        kind = {'.jpg': 'jpeg', '.png': 'png'}[suffix]
        message = self._make(
            COMPRESSED_IMAGE,
            header=self._header(stamp_ns, self._frame_id),
            format=f'{encoding}; {kind} compressed {encoding}',
            data=np.asarray(data, np.uint8).reshape(-1),
        )
        self._add(topic, COMPRESSED_IMAGE, message, stamp_ns)

    def write_text(self, topic: str, text: str, time_ns: int) -> None:
        """Add a std_msgs/String, recorded at a time."""
        self._add(topic, _STRING, self._make(_STRING, data=text), time_ns)

    def write_transform(
        self,
        topic: str,
        frames: tuple[str, str],
        translation: tuple[float, float, float],
        quaternion: tuple[float, float, float, float],
        stamp_ns: int,
    ) -> None:
        """Add the pose, m and x, y, z, w, of the second of two frames in the first one."""
        x, y, z = translation
        qx, qy, qz, qw = quaternion
        geometry = 'geometry_msgs/msg'
        transform = self._make(
            f'{geometry}/TransformStamped',
            header=self._header(stamp_ns, frames[0]),
            child_frame_id=frames[1],
            transform=self._make(
                f'{geometry}/Transform',
                translation=self._make(f'{geometry}/Vector3', x=x, y=y, z=z),
                rotation=self._make(f'{geometry}/Quaternion', x=qx, y=qy, z=qz, w=qw),
            ),
        )
        self._add(topic, _TF, self._make(_TF, transforms=[transform]), stamp_ns)

    def write_image(
        self, topic: str, array: np.ndarray, encoding: str, header: Any, time_ns: int
    ) -> None:
        """
        Add an image.

        Args:
            topic: its topic.
            array: (H, W) or (H, W, C) uint8 or uint16, in the channel order of `encoding`.
            encoding: such as `mono8` or `bgr8`.
            header: that of a message that a recording gave; taken over untouched.
            time_ns: when it counts as recorded.

        """
        height, width = array.shape[:2]
        message = self._make(
            IMAGE,
            header=header,
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=array.nbytes // height,
            data=np.ascontiguousarray(array).view(np.uint8).reshape(-1),
        )
        self._add(topic, IMAGE, message, time_ns)

    def write_calibration(self, topic: str, camera: Camera, stamp_ns: int, time_ns: int) -> None:
        """Add the calibration of the camera of `write`, at its stamp and recorded at a time."""
        (fx, fy), (cx, cy) = camera.focal, camera.center
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)
        roi = self._make(
            'sensor_msgs/msg/RegionOfInterest',
            x_offset=0,
            y_offset=0,
            height=0,
            width=0,
            do_rectify=False,
        )
        message = self._make(
            CAMERA_INFO,
            header=self._header(stamp_ns, self._frame_id),
            height=camera.height,
            width=camera.width,
            distortion_model=camera.model,
            d=np.array(camera.distortion, np.float64),
            k=matrix.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.hstack((matrix, np.zeros((3, 1)))).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=roi,
        )
        self._add(topic, CAMERA_INFO, message, time_ns)

    def write_points(self, topic: str, points: np.ndarray, frame_id: str, stamp_ns: int) -> None:
        """Add a cloud (H, W, 3) float32, m, in a frame, recorded at its stamp in ns."""
        height, width, _ = points.shape
        fields = [
            self._make(
                'sensor_msgs/msg/PointField',
                name=name,
                offset=4 * axis,
                datatype=_FLOAT32,
                count=1,
            )
            for axis, name in enumerate('xyz')
        ]
        message = self._make(
            POINT_CLOUD,
            header=self._header(stamp_ns, frame_id),
            height=height,
            width=width,
            fields=fields,
            is_bigendian=False,
            point_step=12,
            row_step=12 * width,
            data=np.ascontiguousarray(points, '<f4').view(np.uint8).reshape(-1),
            is_dense=bool(np.isfinite(points).all()),
        )
        self._add(topic, POINT_CLOUD, message, stamp_ns)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
        stamp = self._make('builtin_interfaces/msg/Time', sec=seconds, nanosec=nanoseconds)
        return self._make('std_msgs/msg/Header', stamp=stamp, frame_id=frame_id)

    def _make(self, kind: str, **fields: Any) -> Any:
        return self._types.types[kind](**fields)

    def _add(self, topic: str, kind: str, message: Any, time_ns: int) -> None:
        if (topic, kind) not in self._connections:
            self._connections[topic, kind] = self._writer.add_connection(
                topic, kind, typestore=self._types
            )
        self._put((topic, kind), time_ns, self._types.serialize_cdr(message, kind))

    def copy(self, source: Connection, time_ns: int, message: bytes) -> None:
        """
        Add a message of another recording as it is.

        Raises:
            BagTimeError: its time is one that cannot be stored.

        """
        if not 0 <= time_ns < 1 << 63:
            msg = (
                f'a message on {source.topic} was recorded at {time_ns} ns from 1970, which '
                'cannot be stored'
            )
            raise BagTimeError(msg)
        key = (source.topic, full_type(source.msgtype))
        if key not in self._connections:
            assert isinstance(source.ext, ConnectionExtRosbag2)
            self._connections[key] = self._writer.add_connection(
                *key,
                msgdef=source.msgdef.data,
                rihs01=source.digest or _digest(source),
                serialization_format=source.ext.serialization_format,
                offered_qos_profiles=source.ext.offered_qos_profiles,
            )
        self._put(key, time_ns, message)

    def _put(self, key: tuple[str, str], time_ns: int, data: bytes | memoryview) -> None:
        with self._writing():
            self._writer.write(self._connections[key], time_ns, data)

    def close(self) -> None:
        """Finish the recording: from now on it stands under its name."""
        with self._writing():
            self._writer.close()
            self._folder.finish()

    def discard(self) -> None:
        """Remove what was written, unless it was finished."""
        self._undo.close()

    def _abort(self) -> None:
        with suppress(Exception):  # it cannot be finished, and need not be
            self._writer.abort()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except BaseException as err:
            self.discard()
            if not isinstance(err, OSError | sqlite3.Error):
                raise
            reason = getattr(err, 'strerror', None) or str(err)
            msg = (
                f'recording {self._path} cannot be written ({reason}), so it was removed: make '
                'room, or choose another place'
            )
            raise RecordingError(msg) from err


def _digest(source: Connection) -> str:
    """Return the hash of a type, which older recordings lack, from its definition."""
    types = get_typestore(Stores.ROS2_HUMBLE)
    name = full_type(source.msgtype)
    try:
        if name not in types.types:
            types.register(get_types_from_msg(source.msgdef.data, name))
        return types.hash_rihs01(name)
    except Exception:  # an incomplete definition: nobody needs the hash to read the message
        return _UNKNOWN_DIGEST
