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

"""What `benchmark bag` measures: our own node, or any node, which is known by its topics only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
import hashlib
import logging
import os
from pathlib import Path
import shlex
from typing import Any, Protocol

from uhr_seg_ros.benchmark.figures import engine_facts
from uhr_seg_ros.core.bundle import Bundle, load_bundle
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.replay.bags import CAMERA_INFO, COMPRESSED_IMAGE, ImageTopic, topic_types
from uhr_seg_ros.replay.command_process import command_words, split_command, uses
from uhr_seg_ros.replay.outside_session import OutsideSession, Wiring
from uhr_seg_ros.replay.playing import PlayingSession
from uhr_seg_ros.replay.session import Session, transport_of

_LOG = logging.getLogger(__name__)

IMAGE_TOPIC = '/image_raw'

#: Figure that nobody outside of a node can know -> where it is known from, and what stands for it.
MISSING = {
    'what became of a frame without a mask': 'our node counts it in /diagnostics; here it is '
    '`unanswered`, whether it was dropped, rejected or lost on the way',
    'time of each stage, and of waiting': 'our node publishes it on ~/latency; here there is the '
    'time from frame to mask alone',
    'back end, precision, hashes of the engines': 'our node tells them in /diagnostics; here '
    'there is the command',
    'parameters of the node': 'asked from our node; here there is the hash of --params-file',
    'overlays': 'our node publishes them; here they are drawn from its masks, with --classes',
}


class Subject(Protocol):
    """A node to measure."""

    @property
    def classes(self) -> ClassSet | None:
        """Classes of the ids in its masks; None where nobody knows."""

    @property
    def at_frame_size(self) -> bool:
        """Whether masks of another size are compared with labels at the size of the frame."""

    def open(
        self, bag: Path, topic: ImageTopic, folder: Path, on_mask: Callable[[int, int], None]
    ) -> AbstractContextManager[PlayingSession[Any]]:
        """Start the node, ready for a recording; see `PlayingSession`."""

    def prepare(self, session: Any, bag: Path, topic: ImageTopic) -> None:
        """Do what has to be done before figures are taken."""

    def describe(self, session: Any | None) -> dict[str, Any]:
        """Return `node` and `dds` of a report; without a session, of one that failed early."""


class OwnNode:
    """
    Our node.

    Args:
        parameters: of the node, `bundle` among them.

    Raises:
        BundleError: no such bundle.

    """

    at_frame_size = False  # a mask of another size was asked for (`mask.scale`)

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._bundle: Bundle = load_bundle(parameters['bundle'])
        _LOG.info(self._bundle.domain_line)
        self._parameters = {**parameters, 'bundle': str(self._bundle.path.resolve())}
        self.classes: ClassSet | None = self._bundle.classes

    def open(
        self, bag: Path, topic: ImageTopic, folder: Path, on_mask: Callable[[int, int], None]
    ) -> Session:
        """See `Subject`."""
        del bag
        return Session(self._parameters, folder, transport=transport_of(topic), on_mask=on_mask)

    def prepare(self, session: Session, bag: Path, topic: ImageTopic) -> None:
        """Do nothing: the node is active when its engines are loaded."""

    def describe(self, session: Session | None) -> dict[str, Any]:
        """See `Subject`."""
        known = {'parameters': self._parameters, 'dds': {}, 'diagnostics': {}}
        found = {**known, **(session.describe() if session else {})}
        return {
            'node': {
                **engine_facts(found['diagnostics']),
                'parameters': {**found['parameters'], 'bundle': self._bundle.name},
            },
            'dds': found['dds'],
        }


@dataclass(frozen=True)
class OutsideNode:
    """
    Any node, started by a command.

    Attributes:
        command: see `command_words`; its placeholders are `image_topic`, `camera_info_topic`,
            `mask_topic`, `bag` and, where there is one, `params_file`.
        mask_topic: where its masks come.
        image_topic: where frames are sent.
        params_file: parameters of the node; given as an argument of ROS where the command has
            no placeholder for it.
        classes: of the ids in its masks; None where nobody knows.
        start_timeout_s: as of `Wiring`.

    """

    command: str
    mask_topic: str
    image_topic: str = IMAGE_TOPIC
    params_file: Path | None = None
    classes: ClassSet | None = None
    start_timeout_s: float = 120.0

    at_frame_size = True

    @property
    def name(self) -> str:
        """The command without the folders of this machine, its placeholders as they are."""
        return shlex.join(map(_without_folders, split_command(self.command)))

    def wiring(self, bag: Path, topic: ImageTopic) -> Wiring:
        """
        Return how the node is started for a recording.

        Raises:
            ConfigError: the command asks for calibrations, and the recording has none or several;
                or see `command_words`.

        """
        recorded = _calibration_of(bag, topic, needed=uses(self.command, 'camera_info_topic'))
        suffix = '/compressed' if topic.type == COMPRESSED_IMAGE else ''
        folder = self.image_topic.rpartition('/')[0]
        values = {
            'image_topic': self.image_topic + suffix,
            'camera_info_topic': f'{folder}/camera_info',
            'mask_topic': self.mask_topic,
            'bag': str(bag.resolve()),
        }
        if self.params_file:
            values['params_file'] = str(self.params_file.resolve())
        words = command_words(self.command, values)
        if self.params_file and not uses(self.command, 'params_file'):
            words += ['--ros-args', '--params-file', values['params_file']]
        calibration = (recorded, values['camera_info_topic']) if recorded else None
        return Wiring(words, self.image_topic, self.mask_topic, calibration, self.start_timeout_s)

    def open(
        self, bag: Path, topic: ImageTopic, folder: Path, on_mask: Callable[[int, int], None]
    ) -> OutsideSession:
        """See `Subject`."""
        return OutsideSession(self.wiring(bag, topic), topic, folder, on_mask)

    def prepare(self, session: OutsideSession, bag: Path, topic: ImageTopic) -> None:
        """Let the node load what it needs; see `OutsideSession.warm_up`."""
        _LOG.info('waiting for the first mask')
        session.warm_up(bag, topic)

    def describe(self, session: OutsideSession | None) -> dict[str, Any]:
        """See `Subject`."""
        found = session.describe() if session else {'masks': [], 'dds': {}}
        return {
            'node': {
                'measured': 'outside',
                'command': self.name,
                'image_topic': self.image_topic,
                'mask_topic': self.mask_topic,
                'params_sha256': _sha256(self.params_file),
                'masks': found['masks'],
                'missing': MISSING,
            },
            'dds': found['dds'],
        }


def _calibration_of(bag: Path, topic: ImageTopic, *, needed: bool) -> str:
    """Return the topic of calibrations that belongs to images of a recording; empty for none."""
    found = [name for name, kind in topic_types(bag).items() if kind == CAMERA_INFO]
    base = topic.name.removesuffix('/compressed')
    beside = f'{base.rpartition("/")[0]}/camera_info'
    if beside in found:
        return beside
    if len(found) == 1:
        return found[0]
    if needed:
        msg = (
            f'--command has {{camera_info_topic}}, and {bag} has {", ".join(found) or "none"} of '
            f'{CAMERA_INFO} for {topic.name}: expected {beside}, or one alone'
        )
        raise ConfigError(msg)
    return ''


def _without_folders(word: str) -> str:
    """Leave the name of a file that a word is, or gives after an equals sign."""
    before, equals, path = word.rpartition('=')
    is_file = os.path.isabs(path) and os.path.exists(path)
    return f'{before}{equals}{os.path.basename(path.rstrip("/"))}' if is_file else word


def _sha256(file: Path | None) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file else None
