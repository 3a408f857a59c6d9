# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What is chosen in reading a picture is told, once per kind and folder."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Lock

_LOGGER = logging.getLogger('uhr_seg_ros.image_io')
_told: set[tuple[Path, str]] = set()
_lock = Lock()


def tell(path: Path, text: str) -> None:
    """
    Log what was chosen in reading a file; silent where the folder has been told the same.

    Args:
        path: The file.
        text: What was chosen; the same text for every file that it happens to.
    """
    key = path.parent, text
    with _lock:
        if key in _told:
            return
        _told.add(key)
    _LOGGER.warning('%s: %s (said once for this folder)', path, text)
