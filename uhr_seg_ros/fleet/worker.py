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

"""A worker: opens the bundle once, and does one unit after the other wherever it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import errno
from importlib import import_module
from typing import Any

import cv2

from uhr_seg_ros.core.errors import ConfigError, UhrSegError
from uhr_seg_ros.fleet.tools import Tools
from uhr_seg_ros.fleet.units import Outcome, Unit

Handler = Callable[[Tools, Unit], Outcome]

#: Job, which the options name unless it is the first -> what opens the tools for it.
JOBS = {'batch': 'tools:open_batch', 'evaluation': 'evaluation_units:EvaluationTools'}

#: Kind of unit -> where its handler is; recordings and rasters need packages of their own.
HANDLERS = {
    'images': 'image_units:segment_images',
    'plan_bag': 'bag_units:plan_bag',
    'frames': 'bag_units:segment_chunk',
    'bag': 'bag_units:join_bag',
    'plan_video': 'video_units:plan_video',
    'video': 'video_units:segment_video',
    'plan_raster': 'raster_units:plan_raster',
    'tokens': 'raster_units:compute_tokens',
    'rows': 'raster_units:segment_rows',
    'raster': 'raster_units:join_raster',
    'measure': 'evaluation_units:measure_images',
}
#: What no other unit would get around either.
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class Worker:
    """
    Does units; what goes wrong in one is an answer, not the end of the worker.

    Args:
        options: of the job as a dict, so that a driver of another process can hand them over.

    Raises:
        ConfigError: the bundle here is another one than that of the driver.
        UhrSegError: it cannot be opened.

    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        values = dict(options)
        self.tools: Tools = _named(JOBS[values.pop('job', 'batch')])(values)
        bundle = self.tools.segmenter.bundle
        if bundle.sha256 != self.tools.options.bundle_sha256:
            msg = (
                f'{bundle.path} on {self.tools.worker} is another bundle than that of '
                'the driver: put the same into the same place on all nodes'
            )
            raise ConfigError(msg)

    def run(self, unit: Mapping[str, Any]) -> dict[str, Any]:
        """Do a unit, `Unit` as a dict; return an `Outcome` as one."""
        return self.do(Unit(**unit)).as_dict()

    def do(self, unit: Unit) -> Outcome:
        """Do a unit."""
        try:
            handler: Handler = _named(HANDLERS[unit.kind])
            return handler(self.tools, unit)
        except OSError as err:
            place = f'{err.filename}: ' if err.filename else ''
            reason = f'{place}{err.strerror or err}'
            return Outcome(error=reason, is_fatal=err.errno in _FATAL)
        except ModuleNotFoundError as err:
            return Outcome(error=f'the package {err.name} is missing: pip install {err.name}')
        except (UhrSegError, MemoryError, cv2.error) as err:
            return Outcome(error=str(err).strip() or 'out of memory')

    def close(self) -> None:
        """Free the memory of the model."""
        self.tools.close()


def _named(place: str) -> Any:
    """Import what a table names as `module:name` of this room."""
    module, _, name = place.partition(':')
    return getattr(import_module(f'{__package__}.{module}'), name)
