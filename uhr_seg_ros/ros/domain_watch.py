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

"""Whether the frames of one camera are such as the model was made for: a hint, not a proof."""

from __future__ import annotations

from collections import deque
from statistics import median
from threading import Lock

from std_msgs.msg import Header

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.domain import ANY
from uhr_seg_ros.core.errors import UhrSegError
from uhr_seg_ros.pipelines.novelty import unknown_frames
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.ros.messages.camera_info import camera_of, CameraInfoCache
from uhr_seg_ros.ros.parameters.settings import Settings

_RECENT, _ENOUGH = 15, 5
"""The novelty is the median of so many frames at most, and of so many at least."""

_BACK_BELOW = 0.9
"""A warning ends where the novelty is below this; a level must not flap at its limit."""

_WAY_OUT = 'domain_warning false ends this warning'


class DomainWatch:
    """
    Look at a frame of a camera now and then.

    The worker looks, the executor tells.

    Args:
        bundle: what runs.
        calibrations: of the camera.

    """

    def __init__(self, bundle: Bundle, calibrations: CameraInfoCache) -> None:
        self._bundle, self._calibrations = bundle, calibrations
        self._lock = Lock()
        self._novelties: deque[float] = deque(maxlen=_RECENT)
        self._is_unknown = False
        self._ground_resolution: float | None = None

    def look(self, header: Header, result: Segmentation, settings: Settings) -> None:
        """Note how a frame looks, of which the novelty was asked for."""
        height, width = result.mask.shape
        resolution = self._measured(header, height, width, settings)
        with self._lock:
            self._ground_resolution = resolution
            if result.novelty is not None:
                self._novelties.append(result.novelty)
            if len(self._novelties) >= _ENOUGH:
                limit = _BACK_BELOW if self._is_unknown else 1.0
                self._is_unknown = median(self._novelties) > limit

    def values(self) -> dict[str, str]:
        """Return what is known by now, for `/diagnostics`."""
        found = {}
        with self._lock:
            if self._novelties:
                found['novelty'] = f'{median(self._novelties):.2f}'
            if self._ground_resolution is not None:
                found['ground_resolution'] = f'{self._ground_resolution:.4g}'
        return found

    def problem(self, settings: Settings) -> str:
        """Return why the frames are plainly not what the bundle is for; or empty."""
        if not settings.domain_warning:
            return ''
        with self._lock:
            found = []
            if self._ground_resolution is not None:
                domain = self._bundle.domain
                found.append(domain.scale_misfit(self._bundle.name, self._ground_resolution))
            if self._is_unknown:
                found.append(unknown_frames(self._bundle, median(self._novelties)))
        found = [text for text in found if text]
        return f'{"; ".join(found)}. {_WAY_OUT}' if found else ''

    def _measured(
        self, header: Header, height: int, width: int, settings: Settings
    ) -> float | None:
        """Return the size of a pixel of a camera that looks straight down, m; None: unknown."""
        info = self._calibrations.find(header)
        if not settings.camera_height or info is None:
            return None
        if settings.camera_view not in (ANY, 'nadir'):  # it differs from pixel to pixel
            return None
        try:
            camera = camera_of(info, height, width, rectified=settings.cloud_rectified)
        except UhrSegError:  # not calibrated, which is told elsewhere
            return None
        return settings.camera_height / max(camera.focal)
