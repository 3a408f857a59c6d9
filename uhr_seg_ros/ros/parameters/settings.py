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
The table of parameters: a row of `Settings` is a parameter, and nothing else has to know of it.

`ros2 param describe`, the checks of new values and the snapshot that the node works with are all
made of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from uhr_seg_ros.backends.options import DEFAULT_WORKSPACE_MB, PRECISIONS
from uhr_seg_ros.core.bundle import DEFAULT_MEMORY_LIMIT_MB
from uhr_seg_ros.core.class_edits import ClassEdits, syntax_fault
from uhr_seg_ros.core.domain import ANY, CAMERA_VIEWS
from uhr_seg_ros.geometry.visibility import ZBuffer
from uhr_seg_ros.image_io.limits import DEFAULT_FRAME_PIXELS, MAX_FRAME_PIXELS
from uhr_seg_ros.pipelines.mask_size import MaskSize
from uhr_seg_ros.pipelines.refinement.refine import METHODS, missing_library, Refinement
from uhr_seg_ros.pipelines.smoothing import MAX_FRAMES
from uhr_seg_ros.ros.messages.objects import check_objects
from uhr_seg_ros.ros.parameters.extrinsics import Extrinsics
from uhr_seg_ros.ros.parameters.launch_arguments import camera_fault
from uhr_seg_ros.ros.parameters.regions import Region
from uhr_seg_ros.ros.parameters.spec import row, specs_of

MIN_SIDE, MAX_SIDE = 16, 16384
"""Limits of a side of `input_size`, px."""


def _check_size(size: list[int]) -> str:
    if len(size) == 2 and all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        return ''
    return (
        f'input_size is {list(size)}: expected width and height, each {MIN_SIDE} to {MAX_SIDE} px'
    )


def _check_mask_size(size: list[int]) -> str:
    is_size = len(size) == 2 and all(0 <= side <= MAX_SIDE for side in size)
    if is_size and all(size) == any(size):
        return ''
    return (
        f'mask.size is {list(size)}: expected width and height, each 1 to {MAX_SIDE} px, or 0, 0'
    )


def _check_refine(method: str) -> str:
    return '' if method == 'none' else missing_library()


@dataclass(frozen=True)
class Settings:
    """
    The node's parameters at one moment; it cannot change.

    `extrinsics` has the declared pose of every camera, `regions` what is looked at of those of
    which something is left out.
    """

    bundle: str = row(
        'hlrc_s_aerial',
        'Model bundle: a folder, or the name of a folder under models/. While the node is '
        'configured another one is loaded beside it, and takes its place between two frames.',
    )
    camera_view: str = row(
        ANY,
        'How the cameras look: nadir (straight down), oblique (down at an angle), forward '
        '(along the ground) or other; a bundle for other views is a warning. any: no one says.',
        choices=CAMERA_VIEWS,
    )
    camera_height: float = row(
        0.0,
        'Height of the cameras above the ground, m, for the size of a pixel on it: one that the '
        'bundle is plainly not for is a warning. 0: unknown.',
        limits=(0.0, 1e6),
    )
    domain_warning: bool = row(
        True,
        'Warn where frames are plainly unlike those that the bundle is for, by their features or '
        'the size of a pixel on the ground.',
    )
    backend: str = row(
        'auto',
        'tensorrt (NVIDIA GPU), onnxruntime (CPU), or auto: the fastest one that runs here.',
        change='unconfigured',
    )
    input_size: tuple[int, int] = row(
        [3840, 2160],
        'Width and height that TensorRT engines are built for when configuring, px. Another '
        'size is built when its first frame comes.',
        validator=_check_size,
        change='unconfigured',
    )
    precision: str = row(
        'auto',
        'Numbers that the engines compute in; auto: fp16 with TensorRT, what the bundle says on '
        'a CPU.',
        choices=PRECISIONS,
        change='unconfigured',
    )
    workspace_mb: int = row(
        DEFAULT_WORKSPACE_MB,
        'Scratch memory of a TensorRT engine and of its build, MB.',
        limits=(64, 1 << 20),
        change='unconfigured',
    )
    engine_cache: str = row(
        '',
        'Folder of built TensorRT engines; empty: uhr_seg_ros in XDG_CACHE_HOME or ~/.cache.',
        change='unconfigured',
    )
    memory_limit_mb: int = row(
        DEFAULT_MEMORY_LIMIT_MB,
        'Memory for the detail branch, MB; beyond it the frame is tiled. As much again for all '
        'other buffers of a frame, which is rejected beyond it. 0 = no limit.',
        limits=(0, 1 << 20),
        change='unconfigured',
    )
    tile_size: int = row(
        0,
        'Largest side of the tiles of a frame, px. 0 = whole frames where memory_limit_mb allows; '
        'a network that takes one size only then sees frames resized to it.',
        limits=(0, MAX_SIDE),
        change='unconfigured',
    )
    max_pixels: int = row(
        DEFAULT_FRAME_PIXELS,
        'Largest frame, width x height, px: what is larger, also a depth image, is rejected by '
        'its header.',
        limits=(1, MAX_FRAME_PIXELS),
    )
    threads: int = row(
        0, 'CPU threads of the engines; 0 = one per core.', limits=(0, 1024), change='unconfigured'
    )
    # rclpy takes an empty list for a byte array: one empty name stands for the unnamed camera.
    cameras: tuple[str, ...] = row(
        [''],
        'Names of the cameras, such as [front, left]: inputs <name>/image_raw, outputs '
        '~/<name>/mask. Empty: one camera without a name.',
        validator=camera_fault,
        change='never',
    )
    image_transport: str = row(
        'raw',
        'raw takes image_raw, compressed takes image_raw/compressed; ffmpeg and foxglove take '
        'the streams image_raw/ffmpeg and image_raw/foxglove.',
        choices=('raw', 'compressed', 'ffmpeg', 'foxglove'),
        change='unconfigured',
    )
    decoder: str = row(
        'cpu',
        'What decodes H.264 and H.265: cpu, or cuda, the decoder of an NVIDIA GPU, where PyAV '
        'has it.',
        choices=('cpu', 'cuda'),
        change='unconfigured',
    )
    image_qos: str = row(
        'auto',
        'Reliability of the image subscriptions; auto takes what the publisher offers.',
        choices=('auto', 'reliable', 'best_effort'),
        change='unconfigured',
    )
    autostart: bool = row(
        True, 'Configure and activate as soon as the node spins.', change='never'
    )
    transition_timeout: float = row(
        30.0,
        'A transition fails when the worker is still inside a frame or inside unloading the '
        'models after so long, s; 0 = it waits for ever.',
        limits=(0.0, 86400.0),
    )
    configure_timeout: float = row(
        1800.0,
        'Configuring fails when loading a bundle, or building its engines, shows no progress '
        'for so long, s; 0 = it waits for ever.',
        limits=(0.0, 86400.0),
    )
    watchdog_timeout: float = row(
        0.0,
        'The process ends, with code 1, when one frame takes longer, s; 0 = never. For a launch '
        'file that starts it anew (respawn).',
        limits=(0.0, 86400.0),
        least=1.0,
    )
    detail: str = row(
        'whole',
        'whole: the detail branch sees every frame as a whole. budget: it sees the tiles that '
        'gain most by it, as many as latency.budget_ms allows; on ONNX Runtime, for bundles with '
        'a detail branch.',
        choices=('whole', 'budget'),
    )
    max_rate_hz: float = row(
        0.0,
        'Frames per second and camera that are processed at most; 0 = no limit.',
        limits=(0.0, 1000.0),
        least=0.001,
    )
    mask_scale: float = row(
        1.0,
        'Size of ~/mask and ~/confidence relative to the frame; ~/camera_info fits them.',
        name='mask.scale',
        limits=(0.01, 1.0),
    )
    mask_sides: tuple[int, int] = row(
        [0, 0],
        'Width and height of ~/mask and ~/confidence, px, such as those of a point cloud that has '
        'a point for every pixel; in place of mask.scale. 0, 0: mask.scale counts.',
        name='mask.size',
        validator=_check_mask_size,
    )
    confidence_enabled: bool = row(
        True,
        'Compute ~/confidence for whoever subscribes; false: for nobody.',
        name='confidence.enabled',
    )
    confidence_threshold: float = row(
        0.0,
        'Pixels with less confidence are unlabeled, 0 to 1; 0: none is, and confidence is '
        'computed for its subscribers only.',
        name='confidence.threshold',
        limits=(0.0, 1.0),
    )
    classes_merge: tuple[str, ...] = row(
        [''],
        'Classes that become one, each as new=a+b, such as vehicle=car+truck; its id is the '
        'smallest of theirs.',
        name='classes.merge',
        validator=syntax_fault('merge'),
    )
    classes_hide: tuple[str, ...] = row(
        [''],
        'Names of classes, after merging, whose pixels are unlabeled.',
        name='classes.hide',
        validator=syntax_fault('hide'),
    )
    classes_colors: tuple[str, ...] = row(
        [''],
        'Colors of classes, after merging, each as name=#rrggbb, such as road=#804080.',
        name='classes.colors',
        validator=syntax_fault('colors'),
    )
    objects_enabled: bool = row(
        False,
        'Publish ~/objects for whoever subscribes: pixels of one class that touch each other.',
        name='objects.enabled',
        validator=check_objects,
    )
    objects_min_area: int = row(
        100,
        'Objects of fewer pixels of the mask are left out.',
        name='objects.min_area_px',
        limits=(1, 1 << 30),
    )
    jpeg_quality: int = row(
        80,
        'Quality of ~/overlay/compressed and ~/color_mask/compressed, 1 to 100.',
        name='compressed.jpeg_quality',
        limits=(1, 100),
    )
    overlay_alpha: float = row(
        0.5,
        'Share of the class color in ~/overlay, 0..1.',
        name='overlay.alpha',
        limits=(0.0, 1.0),
    )
    overlay_scale: float = row(
        0.5,
        'Size of ~/overlay and ~/color_mask relative to the frame.',
        name='overlay.scale',
        limits=(0.01, 1.0),
    )
    refine: str = row(
        'none',
        'random_walker lets the image decide the boundaries of the mask.',
        choices=METHODS,
        validator=_check_refine,
    )
    refine_budget_ms: float = row(
        0.0,
        'Time after which the rest of the boundaries stays as it is, ms; 0 = none.',
        limits=(0.0, 600000.0),
    )
    smoothing: int = row(
        0,
        'A pixel of the mask takes another class when so many frames in a row have it there, for '
        'what flickers while the camera stands still; 0 or 1 = at once.',
        limits=(0, MAX_FRAMES),
    )
    cloud_enabled: bool = row(
        False,
        'Label points: inputs <name>/points or <name>/depth, output ~/<name>/points.',
        name='cloud.enabled',
        change='unconfigured',
    )
    cloud_source: str = row(
        'points',
        'points takes a PointCloud2, depth an Image in mm (16UC1) or m (32FC1).',
        name='cloud.source',
        choices=('points', 'depth'),
        change='unconfigured',
    )
    cloud_max_time_difference: float = row(
        0.05,
        'Largest difference between the stamps of a mask and of the points it labels, s.',
        name='cloud.max_time_difference',
        limits=(0.0, 10.0),
        change='unconfigured',
    )
    cloud_memory_limit_mb: int = row(
        256,
        'Memory of the points that wait for a mask, of the masks that are kept for points to '
        'come, and of the points that wait for a transform, MB each and per camera.',
        name='cloud.memory_limit_mb',
        limits=(1, 1 << 20),
        change='unconfigured',
    )
    cloud_rectified: bool = row(
        False,
        'The frames are rectified: P of camera_info projects, not K and D.',
        name='cloud.rectified',
    )
    cloud_keep_unseen: bool = row(
        True,
        'Points that the camera does not see stay, with label 255; false leaves them out.',
        name='cloud.keep_unseen',
    )
    cloud_z_buffer_enabled: bool = row(
        True, 'Points behind others get no label.', name='cloud.z_buffer.enabled'
    )
    cloud_z_buffer_columns: int = row(
        120,
        'Cells across the image in which the nearest point hides others: as many as beams of '
        'the LiDAR fit, such as 60 for 32 beams.',
        name='cloud.z_buffer.columns',
        limits=(1, 4096),
    )
    cloud_z_buffer_tolerance: float = row(
        0.05,
        'Share of its distance that a point may lie behind the nearest one.',
        name='cloud.z_buffer.tolerance',
        limits=(0.0, 1.0),
    )
    cloud_fixed_frame: str = row(
        '',
        'Frame of the world in which tf2 follows the motion between the stamps of frame and '
        'points, such as odom; empty: none is followed.',
        name='cloud.fixed_frame',
    )
    cloud_transform_timeout: float = row(
        0.2,
        'How long points wait for their transform where tf2 does not know it yet, s; 0 = not.',
        name='cloud.transform_timeout',
        limits=(0.0, 10.0),
    )
    ground_frame: str = row(
        '',
        'Frame, z up, on whose plane the mask is put: base_footprint of a vehicle, or one that '
        'stands still, such as map, below a drone. Outputs ~/ground_grid and ~/landing_sites; '
        'empty: none.',
        name='ground_grid.frame',
        change='unconfigured',
    )
    ground_free: tuple[str, ...] = row(
        [''],
        'Names of the classes that are free ground, such as [road, pavement].',
        name='ground_grid.free_classes',
        change='unconfigured',
    )
    ground_occupied: tuple[str, ...] = row(
        [''],
        'Names of the classes that are obstacles; those in neither list are unknown.',
        name='ground_grid.occupied_classes',
        change='unconfigured',
    )
    ground_resolution: float = row(
        0.1, 'Side of a cell, m.', name='ground_grid.resolution', limits=(0.001, 1000.0)
    )
    ground_range: float = row(
        10.0,
        'How far the grid reaches from the point below the camera, m; beyond it all is unknown.',
        name='ground_grid.range',
        limits=(0.01, 10000.0),
    )
    ground_z: float = row(
        0.0,
        'Height of the ground in that frame, m.',
        name='ground_grid.z',
        limits=(-10000.0, 10000.0),
    )
    landing_min_radius: float = row(
        2.0,
        'Radius of free ground that a landing site has at least, m.',
        name='landing_sites.min_radius',
        limits=(0.01, 1000.0),
    )
    landing_count: int = row(
        5, 'Landing sites at most.', name='landing_sites.count', limits=(1, 100)
    )
    save_sample_folder: str = row(
        '',
        'Folder that ~/save_sample writes numbered samples into; empty: the service refuses.',
        name='save_sample.folder',
    )
    no_frame_warning_s: float = row(
        5.0, 'Warn after this many seconds without a frame; 0 = never.', limits=(0.0, 86400.0)
    )
    diagnostics_expected_frequency: float = row(
        0.0,
        'Frame rate that each camera should have, Hz; 0 = unknown.',
        name='diagnostics.expected_frequency',
        limits=(0.0, 1000.0),
    )
    diagnostics_gpu_temperature_limit: float = row(
        85.0,
        'Warn when the GPU is this hot, degrees C; 0 = never.',
        name='diagnostics.gpu_temperature_limit',
        limits=(0.0, 150.0),
    )
    latency_budget_ms: float = row(
        0.0,
        'With detail budget, what processing a frame may take, ms; above 0. With detail whole, '
        'warn when more than 5 % of the frames take longer from arrival to publication; 0 = '
        'never.',
        name='latency.budget_ms',
        limits=(0.0, 600000.0),
    )
    extrinsics: Mapping[str, Extrinsics] = field(default_factory=lambda: MappingProxyType({}))

    regions: Mapping[str, Region] = field(default_factory=lambda: MappingProxyType({}))

    @cached_property
    def class_edits(self) -> ClassEdits:
        """What becomes of the classes of the bundle."""
        return ClassEdits(self.classes_merge, self.classes_hide, self.classes_colors)

    @cached_property
    def mask_size(self) -> MaskSize:
        """The size that masks are published in."""
        width, height = self.mask_sides
        return MaskSize(self.mask_scale, (height, width))

    @cached_property
    def frame_budget_ms(self) -> float:
        """What processing a frame may take, ms; 0 where it takes as long as it takes."""
        return self.latency_budget_ms if self.detail == 'budget' else 0.0

    @cached_property
    def refinement(self) -> Refinement | None:
        """How boundaries are refined, or None."""
        if self.refine == 'none':
            return None
        return Refinement(budget_ms=self.refine_budget_ms)

    @cached_property
    def z_buffer(self) -> ZBuffer | None:
        """How hidden points are found, or None."""
        if not self.cloud_z_buffer_enabled:
            return None
        return ZBuffer(self.cloud_z_buffer_columns, self.cloud_z_buffer_tolerance)

    @cached_property
    def min_interval_s(self) -> float:
        """The least time between two frames of a camera that are processed, s."""
        return 1.0 / self.max_rate_hz if self.max_rate_hz else 0.0


SPECS = specs_of(Settings)
"""All parameters except those of the declared poses."""
