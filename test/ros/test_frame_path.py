# Copyright 2026 uhr_seg_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""A frame takes a short way through the files of the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import sys
import threading
from types import FrameType
from typing import Any

from stage import example_mask, frame, Stage, wait_until
from tiny_bundle import paint

import uhr_seg_ros

MakeStage = Callable[..., Stage]
ROOT = str(Path(uhr_seg_ros.__file__).parent) + '/'
END = 'the mask leaves'
TIMER = f'{ROOT}ros/reporting.py'
#: What the node calls the segmenter by; what is behind that is not the node's.
DOORS = {'submit', 'result', 'keep_memory', 'bytes_per_pixel', 'is_async'}
MAX_FILES = 12
WAY = [
    'ros/topics/adaptive_subscription.py',
    'ros/camera.py',
    'ros/topics/time_jumps.py',
    'ros/frame_rates.py',
    'ros/worker.py',
    'ros/watchdog.py',
    'ros/frame_processor.py',
    'ros/outputs.py',
    'ros/messages/images.py',
    'image_io/limits.py',
    'core/raw_frame.py',
]


def is_beside_the_way(called: FrameType) -> bool:
    """Return whether the segmenter, or the timer of diagnostics, called it in whatever way."""
    caller: FrameType | None = called
    while caller is not None:
        code = caller.f_code
        if code.co_filename == TIMER:
            return True
        if caller is not called and '/pipelines/' in code.co_filename and code.co_name in DOORS:
            return True
        caller = caller.f_back
    return False


def test_from_a_frame_to_its_mask(make_stage: MakeStage) -> None:
    files: list[str] = []
    is_noted = False

    def note(called: FrameType, event: str, _: Any) -> None:
        if not is_noted or event != 'call' or not called.f_code.co_filename.startswith(ROOT):
            return
        name = called.f_code.co_filename.removeprefix(ROOT)
        if not files:
            if called.f_code.co_name == '_take':  # the frame arrives
                files.append(name)
        elif END not in files and name not in files and not is_beside_the_way(called):
            files.append(name)
        if called.f_code.co_name == 'encode_image':  # the mask leaves
            files.append(END)

    threading.setprofile(note)
    try:
        stage = make_stage()
        camera = stage.camera()
        (masks,) = stage.outputs('mask')
        camera.publish(frame(paint(example_mask()), 1.0))
        wait_until(lambda: masks, 'a mask')
        is_noted = True
        camera.publish(frame(paint(example_mask()), 2.0))
        wait_until(lambda: len(masks) == 2, 'another mask')
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]
        sys.setprofile(None)
    own = {name for name in files if name != END and not name.startswith('pipelines/')}
    assert set(WAY) <= own
    # The timer may come in between; the node hands it on.
    assert len(own - {'ros/node.py'}) < MAX_FILES, files
