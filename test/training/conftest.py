# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Small trainings gain nothing from several threads, and lose much where the cores are busy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope='module')
def one_thread() -> Iterator[None]:
    torch = pytest.importorskip('torch', reason='training needs torch')
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
