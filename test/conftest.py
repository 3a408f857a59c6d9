# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope='session')
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of the tiny bundle; tests must not write into it."""
    return make_tiny_bundle(tmp_path_factory.mktemp('bundles') / 'tiny')
