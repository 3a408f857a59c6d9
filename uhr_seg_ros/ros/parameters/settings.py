# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What each parameter of the node is: default, description, limits and when it may change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from uhr_seg_ros.backends.options import DEFAULT_WORKSPACE_MB, PRECISIONS
from uhr_seg_ros.core.bundle import DEFAULT_MEMORY_LIMIT_MB
from uhr_seg_ros.core.domain import ANY, CAMERA_VIEWS
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.geometry.transform import Transform
from uhr_seg_ros.image_io.limits import DEFAULT_FRAME_PIXELS, MAX_FRAME_PIXELS
from uhr_seg_ros.pipelines.refinement.refine import METHODS, missing_library
from uhr_seg_ros.ros.launching import camera_fault


@dataclass(frozen=True)
class ParameterSpec:
    """
    One parameter.

    `change` says when it may be set: `never` (read-only), `unconfigured` (it shapes what
    configuring builds) or `live` (the next frame follows it). `least` is the smallest value that
    is not zero.
    """

    name: str
    default: Any
    description: str
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    change: str = 'live'
    least: float = 0.0

    @property
    def field(self) -> str:
        return self.name.replace('.', '_')

    def descriptor(self) -> ParameterDescriptor:
        """Return what `ros2 param describe` shows."""
        descriptor = ParameterDescriptor()
        descriptor.description = self.description
        descriptor.read_only = self.change == 'never'
        constraints = [f'one of: {", ".join(self.choices)}'] if self.choices else []
        if self.change == 'unconfigured':
            constraints.append('can change only while the node is unconfigured')
        descriptor.additional_constraints = '; '.join(constraints)
        if self.limits and isinstance(self.default, float):
            low, high = self.limits
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif self.limits:
            low, high = (int(limit) for limit in self.limits)
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
        return descriptor


SPECS = (
    ParameterSpec(
        'bundle',
        'hlrc_s_aerial',
        'Model bundle: a folder, or the name of a folder under models/.',
        change='unconfigured',
    ),
    ParameterSpec(
        'camera_view',
        ANY,
        'How the cameras look: nadir (straight down), oblique (down at an angle), forward '
        '(along the ground) or other; a bundle for other views is a warning. any: no one says.',
        choices=CAMERA_VIEWS,
    ),
    ParameterSpec(
        'backend',
        'auto',
        'tensorrt (NVIDIA GPU), onnxruntime (CPU), or auto: the fastest one that runs here.',
        change='unconfigured',
    ),
    ParameterSpec(
        'input_size',
        [3840, 2160],
        'Width and height that TensorRT engines are built for when configuring, px. Another '
        'size is built when its first frame comes.',
        change='unconfigured',
    ),
    ParameterSpec(
        'precision',
        'auto',
        'Numbers that the engines compute in; auto: fp16 with TensorRT, what the bundle says on '
        'a CPU.',
        choices=PRECISIONS,
        change='unconfigured',
    ),
    ParameterSpec(
        'workspace_mb',
        DEFAULT_WORKSPACE_MB,
        'Scratch memory of a TensorRT engine and of its build, MB.',
        (64, 1 << 20),
        change='unconfigured',
    ),
    ParameterSpec(
        'engine_cache',
        '',
        'Folder of built TensorRT engines; empty: uhr_seg_ros in XDG_CACHE_HOME or ~/.cache.',
        change='unconfigured',
    ),
    ParameterSpec(
        'memory_limit_mb',
        DEFAULT_MEMORY_LIMIT_MB,
        'Memory for the detail branch, MB; beyond it the frame is tiled. As much again for all '
        'other buffers of a frame, which is rejected beyond it. 0 = no limit.',
        (0, 1 << 20),
        change='unconfigured',
    ),
    ParameterSpec(
        'max_pixels',
        DEFAULT_FRAME_PIXELS,
        'Largest frame, width x height, px: what is larger, also a depth image, is rejected by '
        'its header.',
        (1, MAX_FRAME_PIXELS),
    ),
    ParameterSpec(
        'threads',
        0,
        'CPU threads of the engines; 0 = one per core.',
        (0, 1024),
        change='unconfigured',
    ),
    # rclpy takes an empty list for a byte array: one empty name stands for the unnamed camera.
    ParameterSpec(
        'cameras',
        [''],
        'Names of the cameras, such as [front, left]: inputs <name>/image_raw, outputs '
        '~/<name>/mask. Empty: one camera without a name.',
        change='never',
    ),
    ParameterSpec(
        'image_transport',
        'raw',
        'raw takes image_raw, compressed takes image_raw/compressed.',
        choices=('raw', 'compressed'),
        change='never',
    ),
    ParameterSpec(
        'image_qos',
        'auto',
        'Reliability of the image subscriptions; auto takes what the publisher offers.',
        choices=('auto', 'reliable', 'best_effort'),
        change='unconfigured',
    ),
    ParameterSpec(
        'autostart', True, 'Configure and activate as soon as the node spins.', change='never'
    ),
    ParameterSpec(
        'transition_timeout',
        30.0,
        'A transition fails when the worker is still inside a frame or inside unloading the '
        'models after so long, s; 0 = it waits for ever.',
        (0.0, 86400.0),
    ),
    ParameterSpec(
        'configure_timeout',
        1800.0,
        'Configuring fails when loading a bundle, or building its engines, shows no progress '
        'for so long, s; 0 = it waits for ever.',
        (0.0, 86400.0),
    ),
    ParameterSpec(
        'watchdog_timeout',
        0.0,
        'The process ends, with code 1, when one frame takes longer, s; 0 = never. For a launch '
        'file that starts it anew (respawn).',
        (0.0, 86400.0),
        least=1.0,
    ),
    ParameterSpec(
        'max_rate_hz',
        0.0,
        'Frames per second and camera that are processed at most; 0 = no limit.',
        (0.0, 1000.0),
        least=0.001,
    ),
    ParameterSpec('confidence.enabled', False, 'Compute and publish ~/confidence.'),
    ParameterSpec(
        'overlay.alpha', 0.5, 'Share of the class colour in ~/overlay, 0..1.', (0.0, 1.0)
    ),
    ParameterSpec(
        'overlay.scale',
        0.5,
        'Size of ~/overlay and ~/color_mask relative to the frame.',
        (0.01, 1.0),
    ),
    ParameterSpec(
        'refine',
        'none',
        'random_walker lets the image decide the boundaries of the mask.',
        choices=METHODS,
    ),
    ParameterSpec(
        'refine_budget_ms',
        0.0,
        'Time after which the rest of the boundaries stays as it is, ms; 0 = none.',
        (0.0, 600000.0),
    ),
    ParameterSpec(
        'cloud.enabled',
        False,
        'Label points: inputs <name>/points or <name>/depth, output ~/<name>/points.',
        change='unconfigured',
    ),
    ParameterSpec(
        'cloud.source',
        'points',
        'points takes a PointCloud2, depth an Image in mm (16UC1) or m (32FC1).',
        choices=('points', 'depth'),
        change='unconfigured',
    ),
    ParameterSpec(
        'cloud.max_time_difference',
        0.05,
        'Largest difference between the stamps of a mask and of the points it labels, s.',
        (0.0, 10.0),
        change='unconfigured',
    ),
    ParameterSpec(
        'cloud.memory_limit_mb',
        256,
        'Memory of the points that wait for a mask, of the masks that are kept for points to '
        'come, and of the points that wait for a transform, MB each and per camera.',
        (1, 1 << 20),
        change='unconfigured',
    ),
    ParameterSpec(
        'cloud.rectified',
        False,
        'The frames are rectified: P of camera_info projects, not K and D.',
    ),
    ParameterSpec(
        'cloud.keep_unseen',
        True,
        'Points that the camera does not see stay, with label 255; false leaves them out.',
    ),
    ParameterSpec('cloud.z_buffer.enabled', True, 'Points behind others get no label.'),
    ParameterSpec(
        'cloud.z_buffer.columns',
        120,
        'Cells across the image in which the nearest point hides others: as many as beams of '
        'the LiDAR fit, such as 60 for 32 beams.',
        (1, 4096),
    ),
    ParameterSpec(
        'cloud.z_buffer.tolerance',
        0.05,
        'Share of its distance that a point may lie behind the nearest one.',
        (0.0, 1.0),
    ),
    ParameterSpec(
        'cloud.fixed_frame',
        '',
        'Frame of the world in which tf2 follows the motion between the stamps of frame and '
        'points, such as odom; empty: none is followed.',
    ),
    ParameterSpec(
        'cloud.transform_timeout',
        0.2,
        'How long points wait for their transform where tf2 does not know it yet, s; 0 = not.',
        (0.0, 10.0),
    ),
    ParameterSpec(
        'no_frame_warning_s',
        5.0,
        'Warn after this many seconds without a frame; 0 = never.',
        (0.0, 86400.0),
    ),
    ParameterSpec(
        'diagnostics.expected_frequency',
        0.0,
        'Frame rate that each camera should have, Hz; 0 = unknown.',
        (0.0, 1000.0),
    ),
    ParameterSpec(
        'diagnostics.gpu_temperature_limit',
        85.0,
        'Warn when the GPU is this hot, degrees C; 0 = never.',
        (0.0, 150.0),
    ),
    ParameterSpec(
        'latency.budget_ms',
        0.0,
        'Warn when more than 5 % of the frames take longer from arrival to publication, ms; '
        '0 = never.',
        (0.0, 600000.0),
    ),
)


def extrinsic_specs(camera: str) -> tuple[ParameterSpec, ...]:
    """Return the parameters by which the pose of one camera is declared; it may have no name."""
    prefix = f'cloud.{camera}.' if camera else 'cloud.'
    return (
        ParameterSpec(
            f'{prefix}camera_frame',
            '',
            'Optical frame of the camera, for which a pose is declared; empty: tf2 gives it.',
        ),
        ParameterSpec(
            f'{prefix}points_frame', '', 'Frame of the points, for which a pose is declared.'
        ),
        ParameterSpec(
            f'{prefix}translation',
            [0.0, 0.0, 0.0],
            'Where points_frame begins in camera_frame: x, y, z, m.',
        ),
        ParameterSpec(
            f'{prefix}quaternion',
            [0.0, 0.0, 0.0, 1.0],
            'How points_frame is turned in camera_frame: x, y, z, w.',
        ),
    )


MIN_SIDE, MAX_SIDE = 16, 16384
"""Limits of a side of `input_size`, px."""


def _objection_to_size(size: list[int]) -> str:
    if len(size) == 2 and all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        return ''
    return (
        f'input_size is {list(size)}: expected width and height, each {MIN_SIDE} to {MAX_SIDE} px'
    )


def _objection_to_refining(method: str) -> str:
    return '' if method == 'none' else missing_library()


def _objection_to_translation(values: list[float]) -> str:
    return _objection_to_pose(values, (0.0, 0.0, 0.0, 1.0))


def _objection_to_quaternion(values: list[float]) -> str:
    return _objection_to_pose((0.0, 0.0, 0.0), values)


def _objection_to_pose(translation: Sequence[float], quaternion: Sequence[float]) -> str:
    try:
        Transform.of_quaternion(translation, quaternion)
    except ConfigError as err:
        return str(err)
    return ''


OBJECTIONS: dict[str, Callable[[Any], str]] = {
    'cameras': camera_fault,
    'input_size': _objection_to_size,
    'refine': _objection_to_refining,
    'translation': _objection_to_translation,
    'quaternion': _objection_to_quaternion,
}
"""By the last part of a parameter's name: why a value is refused, or an empty string."""
