# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Run `python -m uhr_seg_ros.cli`."""

import sys

from uhr_seg_ros.cli.main import main

sys.exit(main())
