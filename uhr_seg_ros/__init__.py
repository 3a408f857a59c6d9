# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Real-time semantic segmentation of ultra-high-resolution camera frames for ROS 2."""

import os
import sys
import warnings

__version__ = '0.1.0'

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
