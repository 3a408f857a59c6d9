# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Text files that appear complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """
    Write a file, and the folders that it lies in; whoever looks finds all of it or none.

    Raises:
        OSError: it cannot be written; names the file.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        temporary.write_text(text, encoding='utf-8')
        temporary.replace(path)
    except OSError as err:  # such as a full disk, which does not name the file
        temporary.unlink(missing_ok=True)
        raise OSError(err.errno, err.strerror, str(path)) from err
