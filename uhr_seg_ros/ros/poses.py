# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Where points lie as a camera sees them: from tf2, or as the parameters declare it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.geometry.transform import IDENTITY, Transform

try:
    import tf2_ros
except ImportError:  # not among the PyPI wheels
    tf2_ros = None


class PoseError(UhrSegError):
    """No transform between two frames; the message names both."""


@dataclass(frozen=True)
class Extrinsics:
    """
    A declared pose.

    Attributes:
        camera_frame: the optical frame of a camera; empty: nothing is declared.
        points_frame: the frame of a LiDAR or a depth camera.
        translation: where the points' frame begins in the camera's: x, y, z, m.
        quaternion: how it is turned in it: x, y, z, w.

    """

    camera_frame: str
    points_frame: str
    translation: tuple[float, ...]
    quaternion: tuple[float, ...]

    @property
    def frames(self) -> tuple[str, str]:
        """Both frames, the camera's first."""
        return _plain(self.camera_frame), _plain(self.points_frame)

    @property
    def pose(self) -> Transform:
        """The transform from the points' frame to the camera's."""
        return Transform.of_quaternion(self.translation, self.quaternion)


class PoseFinder:
    """
    Finds transforms; listens to tf2 where tf2_ros is installed.

    Args:
        node: subscribes to /tf and /tf_static, for as long as it lives.

    """

    def __init__(self, node: Node) -> None:
        self._buffer: Any = None
        if tf2_ros is not None:
            self._buffer = tf2_ros.Buffer()
            self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)

    def find(
        self, camera: Header, points: Header, declared: Extrinsics, fixed_frame: str = ''
    ) -> Transform:
        """
        Return the transform from the points' frame to the camera's; never waits for one.

        Args:
            camera: of a frame: its stamp and optical frame.
            points: of a cloud or a depth image.
            declared: used where tf2 knows nothing and the frames are the declared ones; not with
                a fixed frame, since it knows of no motion.
            fixed_frame: one that the vehicle moves in, such as `odom`: what it moves between the
                two stamps is taken into account. Empty: the transform at the points' stamp.

        Raises:
            PoseError: no frame_id, or no such transform; names both frames and the way out.

        """
        frames = _plain(camera.frame_id), _plain(points.frame_id)
        if not all(frames):
            msg = (f'the frame_id of the image is {frames[0]!r} and that of the points '
                   f'{frames[1]!r}: both need one')
            raise PoseError(msg)
        # With a fixed frame a sensor that moves has another pose at the other stamp.
        if frames[0] == frames[1] and not fixed_frame:
            return IDENTITY
        reason = 'tf2_ros is not installed'
        if self._buffer is not None:
            try:
                return self._look_up(frames, camera, points, _plain(fixed_frame))
            except (tf2_ros.TransformException, ValueError, OverflowError) as err:
                reason = str(err)
        if declared.frames == frames and not fixed_frame:
            return declared.pose
        raise PoseError(_advice(frames, declared, fixed_frame, reason))

    def _look_up(
        self, frames: tuple[str, str], camera: Header, points: Header, fixed_frame: str
    ) -> Transform:
        # A stamp below zero is a ValueError here, or an OverflowError.
        stamp = Time.from_msg(points.stamp)
        if fixed_frame:
            found = self._buffer.lookup_transform_full(
                frames[0], Time.from_msg(camera.stamp), frames[1], stamp, fixed_frame
            )
        else:
            found = self._buffer.lookup_transform(*frames, stamp)
        offset, turn = found.transform.translation, found.transform.rotation
        return Transform.of_quaternion(
            (offset.x, offset.y, offset.z), (turn.x, turn.y, turn.z, turn.w)
        )


def _advice(
    frames: tuple[str, str], declared: Extrinsics, fixed_frame: str, reason: str
) -> str:
    """Tell what is missing, and the ways out."""
    msg = f'no transform from {frames[1]} to {frames[0]}: {reason}. '
    if fixed_frame:
        return (f'{msg}With cloud.fixed_frame {fixed_frame} only tf2 can tell it: publish it, or '
                'leave cloud.fixed_frame empty')
    msg += ('Publish it to /tf or /tf_static, or declare it: parameters translation, quaternion, '
            'camera_frame and points_frame under cloud, or under cloud.<camera>')
    if declared.camera_frame:
        msg += f', which are from {declared.frames[1]} to {declared.frames[0]} now'
    return msg


def _plain(frame: str) -> str:
    """Return a frame's name without the slash that ROS 1 put before it; tf2 knows none."""
    return frame.lstrip('/')
