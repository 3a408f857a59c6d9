# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Sizes such as 3840x2160, counts and rates, as they are given on the command line."""

from __future__ import annotations

import argparse
import re

#: A frame in 10,000 s.
LOWEST_RATE_HZ = 1e-4


def parse_size(text: str) -> tuple[int, int]:
    """Turn `<width>x<height>` into (height, width)."""
    match = re.fullmatch(r'([1-9]\d{0,4})x([1-9]\d{0,4})', text)
    if not match:
        msg = f'{text!r} is no size: expected <width>x<height>, such as 3840x2160'
        raise argparse.ArgumentTypeError(msg)
    return int(match[2]), int(match[1])


def parse_count(text: str) -> int:
    """Turn text into a whole number of at least 1."""
    if not text.isdecimal() or not int(text):
        msg = f'{text!r} is no count: expected a whole number from 1'
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def parse_rate(text: str) -> float:
    """Turn text into Hz, from 0 to 1000; the slowest that is no 0 is a frame in 10,000 s."""
    rate = _parse_number(text, 1000.0, 'rate', 'Hz')
    if 0.0 < rate < LOWEST_RATE_HZ:
        msg = f'{text!r} is no rate: expected 0, or {LOWEST_RATE_HZ:g} to 1000 Hz'
        raise argparse.ArgumentTypeError(msg)
    return rate


def parse_duration(text: str) -> float:
    """Turn text into seconds, from 0 to a week."""
    return _parse_number(text, 604800.0, 'duration', 's')


def _parse_number(text: str, highest: float, what: str, unit: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= highest:
        msg = f'{text!r} is no {what}: expected 0 to {highest:.0f} {unit}'
        raise argparse.ArgumentTypeError(msg)
    return value


def format_size(size: tuple[int, int]) -> str:
    """Turn (height, width) into `<width>x<height>`."""
    return f'{size[1]}x{size[0]}'
