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
Real-time semantic segmentation of ultra-high-resolution camera frames for ROS 2.

What is named here is what other packages may build on; it is imported when it is first used.

Example:
    >>> import numpy as np
    >>> from uhr_seg_ros import Segmenter
    >>> with Segmenter('hlrc_s_aerial') as segmenter:
    ...     result = segmenter(np.zeros((480, 640, 3), np.uint8), confidence=True)
    >>> result.mask.shape, result.confidence.dtype
    ((480, 640), dtype('uint8'))

"""

from __future__ import annotations

from importlib import import_module
import os
import sys
from typing import TYPE_CHECKING
import warnings

if TYPE_CHECKING:
    from uhr_seg_ros.backends.options import EngineOptions
    from uhr_seg_ros.core.bundle import Bundle, load_bundle
    from uhr_seg_ros.core.domain import Domain
    from uhr_seg_ros.core.errors import UhrSegError
    from uhr_seg_ros.core.visualization import OverlayOptions
    from uhr_seg_ros.pipelines.frame_budget import FrameBudget
    from uhr_seg_ros.pipelines.pipeline import PendingResult, TilingOptions
    from uhr_seg_ros.pipelines.refinement.refine import Refinement
    from uhr_seg_ros.pipelines.region_of_interest import RegionOfInterest
    from uhr_seg_ros.pipelines.segmenter import Segmentation, Segmenter

__version__ = '0.1.0'

__all__ = [
    'Bundle',
    'Domain',
    'EngineOptions',
    'FrameBudget',
    'OverlayOptions',
    'PendingResult',
    'Refinement',
    'RegionOfInterest',
    'Segmentation',
    'Segmenter',
    'TilingOptions',
    'UhrSegError',
    'load_bundle',
]

#: Public name -> the module that has it.
_MODULES = {
    'Bundle': 'core.bundle',
    'Domain': 'core.domain',
    'EngineOptions': 'backends.options',
    'FrameBudget': 'pipelines.frame_budget',
    'OverlayOptions': 'core.visualization',
    'PendingResult': 'pipelines.pipeline',
    'Refinement': 'pipelines.refinement.refine',
    'RegionOfInterest': 'pipelines.region_of_interest',
    'Segmentation': 'pipelines.segmenter',
    'Segmenter': 'pipelines.segmenter',
    'TilingOptions': 'pipelines.pipeline',
    'UhrSegError': 'core.errors',
    'load_bundle': 'core.bundle',
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        msg = f'module {__name__!r} has no attribute {name!r}'
        raise AttributeError(msg)
    globals()[name] = value = getattr(import_module(f'{__name__}.{_MODULES[name]}'), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


# `python -m uhr_seg_ros.cli` looks into the current folder first, where a `yaml.py` may lie beside
# a downloaded recording. The package is found by now, and everything else lies elsewhere.
if (
    sys.argv[:1] == ['-m']
    and sys.orig_argv[-len(sys.argv)].removeprefix('-m').startswith(f'{__name__}.')
    and not getattr(sys.flags, 'safe_path', sys.flags.isolated)
):
    del sys.path[0]

# ONNX Runtime's wheels have a telemetry client: as soon as onnxruntime is imported it makes a
# device id and a queue in ~/.cache/Microsoft and `.ses` in the temporary folder, and looks for
# its makers' collector. Nothing leaves the machine, unless its user has decided otherwise. It is
# said here, as whatever of this package imports onnxruntime comes by here before.
if not os.environ.get('ORT_DISABLE_TELEMETRY'):
    os.environ['ORT_DISABLE_TELEMETRY'] = '1'
    if 'onnxruntime' in sys.modules:
        sys.modules['onnxruntime'].disable_telemetry_events()
        warnings.warn(
            'onnxruntime was imported before uhr_seg_ros, so a telemetry client in it is running, '
            'and reports that this program was started; it is told to report nothing more. '
            'Import uhr_seg_ros first, or set ORT_DISABLE_TELEMETRY=1',
            RuntimeWarning,
            stacklevel=2,
        )
