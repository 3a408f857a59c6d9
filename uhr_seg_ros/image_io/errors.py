# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What is wrong with a picture."""

from __future__ import annotations

from uhr_seg_ros.core.errors import UhrSegError


class ImageIoError(UhrSegError):
    """
    A picture that is not read: damaged, cut short, too large, or of a kind that is not accepted.

    Functions that get bytes name the format ("JPEG ends in the middle ..."); those that get a
    path put its name before that.
    """
