# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What is wrong with data."""

from __future__ import annotations

from uhr_seg_ros.errors import UhrSegError


class DataError(UhrSegError):
    """A data set that is missing, incomplete or inconsistent; the text names the file."""
