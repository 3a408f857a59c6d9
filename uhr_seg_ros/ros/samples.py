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

"""One frame and what became of it, kept in a folder: for bug reports, and for training data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
import errno
from pathlib import Path
from threading import Condition
import time
from typing import Any

from std_msgs.msg import Header

from uhr_seg_ros.core.atomic_io import write_json
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.core.raw_frame import RawFrame
from uhr_seg_ros.core.work_folders import draft_folder
from uhr_seg_ros.pipelines.segmenter import Segmentation

PREFIX = 'sample_'
"""Of the folder of a sample; its number follows."""

_DRAFT = '.sample_'

# A folder replaces another one only if that is empty.
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)


@dataclass(frozen=True)
class Sample:
    """
    A frame and what became of it.

    Attributes:
        header: of the frame.
        topic: that it came from.
        image: the frame.
        result: with the overlay; the mask has the size of the frame.
        times_ms: what the frame took, by stage, as `~/latency` tells it.
        facts: what made it: bundle, back end and the like.

    """

    header: Header
    topic: str
    image: RawFrame
    result: Segmentation
    times_ms: Mapping[str, float]
    facts: Mapping[str, str]

    def describe(self) -> dict[str, Any]:
        """Return what is no picture, for a JSON file."""
        stamp = self.header.stamp
        classes = self.result.classes
        return {
            'topic': self.topic,
            'stamp': {'sec': stamp.sec, 'nanosec': stamp.nanosec},
            'frame_id': self.header.frame_id,
            'size': [self.image.width, self.image.height],
            'times_ms': {name: round(value, 3) for name, value in self.times_ms.items()},
            'detail_share': round(self.result.detail_share, 4),
            'classes': [
                {'id': number, 'name': name, 'color': list(map(int, classes.colors[number]))}
                for name, number in classes.ids.items()
            ]
            if classes
            else [],
            'made_by': dict(self.facts),
        }


class SampleRequests:
    """
    Hands the next frame of each camera from the worker to whoever waits for it.

    As long as nobody does, the worker looks into an empty set.

    Attributes:
        wanted: cameras of which the next frame is to be handed in.

    """

    def __init__(self) -> None:
        self.wanted: frozenset[str] = frozenset()
        self._samples: dict[str, Sample] = {}
        self._changed = Condition()

    def put(self, camera: str, sample: Sample) -> None:
        """Hand in the frame of a camera."""
        with self._changed:
            if camera in self.wanted:
                self.wanted -= {camera}
                self._samples[camera] = sample
                self._changed.notify_all()

    def give_up(self) -> None:
        """Let whoever waits go on with what is there: no more frames will come."""
        with self._changed:
            self.wanted = frozenset()
            self._changed.notify_all()

    def collect(self, cameras: Iterable[str], timeout: float) -> dict[str, Sample]:
        """
        Wait for the next frame of each camera that the worker begins from now on.

        Args:
            cameras: their names.
            timeout: s to wait at most.

        Returns:
            What came in time.

        """
        deadline = time.monotonic() + timeout
        with self._changed:
            self._samples = {}
            self.wanted = frozenset(cameras)
            while self.wanted and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            self.wanted = frozenset()
            samples, self._samples = self._samples, {}
        return samples


def write_samples(folder: Path, samples: Mapping[str, Sample]) -> Path:
    """
    Write one folder with a number of its own, which appears complete or not at all.

    `frame.png`, `mask.png` (class ids), `overlay.jpg` and `sample.json`, for cameras with a name
    in a folder of that name.

    Args:
        folder: where numbered folders lie; made if absent.
        samples: by camera.

    Returns:
        The folder that was written.

    Raises:
        UhrSegError: a picture cannot be encoded.
        OSError: the folder cannot be written.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with draft_folder(folder, _DRAFT) as draft:
        content = draft / 'content'
        content.mkdir()
        for camera, sample in samples.items():
            _write(content / camera, sample)
        return _rename(content, folder)


def _write(folder: Path, sample: Sample) -> None:
    write_image(folder / 'frame.png', sample.image.bgr)
    write_image(folder / 'mask.png', sample.result.mask)
    if sample.result.overlay is not None:
        write_image(folder / 'overlay.jpg', sample.result.overlay)
    write_json(folder / 'sample.json', sample.describe())


def _rename(content: Path, folder: Path) -> Path:
    """Give a finished folder the number behind the largest one; another process may be faster."""
    taken = (each.name.removeprefix(PREFIX) for each in folder.glob(f'{PREFIX}*'))
    number = 1 + max((int(each) for each in taken if each.isdecimal()), default=0)
    while True:
        try:
            return content.rename(folder / f'{PREFIX}{number:06d}')
        except OSError as err:
            if err.errno not in _TAKEN:
                raise
            number += 1
