# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Surroundings of the benchmark tests."""

from __future__ import annotations

from collections.abc import Iterator
import os

import pytest


@pytest.fixture(autouse=True)
def _environment_stays() -> Iterator[None]:
    """Undo what `isolate` sets for child processes."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
