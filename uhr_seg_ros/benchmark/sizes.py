# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Image sizes as text, such as 3840x2160."""

from __future__ import annotations

import argparse
import re


def parse_size(text: str) -> tuple[int, int]:
    """Turn `<width>x<height>` into (height, width)."""
    match = re.fullmatch(r'([1-9]\d{0,4})x([1-9]\d{0,4})', text)
    if not match:
        msg = f'{text!r} is no size: expected <width>x<height>, such as 3840x2160'
        raise argparse.ArgumentTypeError(msg)
    return int(match[2]), int(match[1])


def format_size(size: tuple[int, int]) -> str:
    """Turn (height, width) into `<width>x<height>`."""
    return f'{size[1]}x{size[0]}'
