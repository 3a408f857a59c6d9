# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The error of this room."""

from __future__ import annotations

from uhr_seg_ros.core.errors import UhrSegError


class TrainingError(UhrSegError):
    """A training that cannot start, resume or go on."""
