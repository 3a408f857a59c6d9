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

"""A node of anyone's, played recordings, and what can be seen of it from the outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import logging
from pathlib import Path
import time
from typing import Any, NoReturn

from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.replay.bags import IMAGE, ImageTopic
from uhr_seg_ros.replay.command_process import CommandProcess
from uhr_seg_ros.replay.load import Load
from uhr_seg_ros.replay.outside_collector import mask_forms, OutsideCollector
from uhr_seg_ros.replay.player_process import Pacing, PlayerProcess
from uhr_seg_ros.replay.playing import PlayingSession, POLL_S, SILENCE_TIMEOUT_S, Start
from uhr_seg_ros.replay.results import Replay

_LOG = logging.getLogger(__name__)

# How long no mask may come after the last frame: so many times the longest latency so far, but
# at least so long, s; and as long as none has come at all, since a node may load with its first
# frame.
_SILENCE_FACTOR, _MIN_SILENCE_S, _FIRST_SILENCE_S = 3.0, 2.0, 10.0


@dataclass(frozen=True)
class Wiring:
    """
    How a node is started, and where it listens and speaks.

    Attributes:
        words: its program and arguments.
        image_topic: where frames are sent, with `/compressed` behind it for compressed ones.
        mask_topic: where its masks come.
        calibration: as of `PlayerProcess`.
        start_timeout_s: how long it may take until it listens, and until its first mask comes, s.

    """

    words: list[str]
    image_topic: str
    mask_topic: str
    calibration: tuple[str, str] | None = None
    start_timeout_s: float = 120.0


class OutsideSession(PlayingSession[OutsideCollector]):
    """
    Any node in a process of its own, known by its topics only.

    A mask belongs to the frame whose stamp it has. Nobody tells what became of a frame without
    one, so a replay has no `counts` and no `stages`.

    Args:
        wiring: how it is started, and its topics.
        topic: of the recording that is played.
        folder: for the logs.
        on_mask: called with number and stamp, ns, of every mask; by default it is logged.

    Raises:
        ConfigError: there is no such program.
        ProcessError: the node ended, or did not listen to frames in time.

    """

    def __init__(
        self,
        wiring: Wiring,
        topic: ImageTopic,
        folder: Path,
        on_mask: Callable[[int, int], None] | None = None,
    ) -> None:
        self._wiring = wiring
        self._type = topic.type
        suffix = '' if topic.type == IMAGE else '/compressed'
        self._frames = wiring.image_topic + suffix
        self._earlier: set[int] = set()
        self._longest_s = 0.0
        super().__init__(
            folder,
            lambda: OutsideCollector(wiring.mask_topic),
            lambda: CommandProcess(wiring.words, folder),
            on_mask,
        )

    def warm_up(self, bag: Path, topic: ImageTopic) -> None:
        """
        Send single frames until a mask comes, so that what is loaded with the first is no figure.

        Raises:
            ProcessError: none came in time, it has the stamp of no frame, or the topic of masks
                has another type.

        """
        deadline = time.monotonic() + self._wiring.start_timeout_s
        pacing = Pacing(lockstep=True, every=max(topic.count, 1), live=True)
        sent = 0
        while True:
            self._check_type()
            replay = self.play(bag, pacing, topic)
            sent += len(replay.played)
            if replay.arrivals:
                return
            if time.monotonic() > deadline:
                self._refuse_silence(sent)

    def describe(self) -> dict[str, Any]:
        """Return `masks`, what they are, as `mask_forms` gives it, and `dds`."""
        return {
            'masks': mask_forms(self._collector.forms),
            'dds': self._collector.describe_dds(self._frames),
        }

    def _player(self, bag: Path, topic: ImageTopic, pacing: Pacing) -> PlayerProcess:
        wiring = self._wiring
        return PlayerProcess(
            bag, topic, pacing, self._folder, wiring.image_topic, wiring.calibration
        )

    def _picture_collector(self, folder: Path) -> OutsideCollector:
        return OutsideCollector(self._wiring.mask_topic, folder, 'picture_collector')

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._wiring.start_timeout_s
        while not (found := self._collector.subscribers(self._frames)):
            self._check_alive()
            self._check_type()
            if time.monotonic() > deadline:
                self._refuse_deafness()
            time.sleep(POLL_S)
        if not any(each.topic_type == self._type for each in found):
            types = listed(sorted({each.topic_type for each in found}))
            msg = (
                f'the node subscribes to {self._frames} as {types}, the frames of the recording '
                f'are {self._type}: choose another topic of it with --topic'
            )
            raise ProcessError(msg)

    def _wait_until_settled(self, start: Start, played: Sequence[tuple[int, ...]]) -> None:
        """Wait until every frame is answered, or no mask comes for a long time."""
        waiting = {stamp for stamp, *_ in played}
        seen, last_change = start.masks, time.monotonic()
        waiting -= {stamp for stamp, _ in self._collector.arrivals[seen:]}
        while waiting and time.monotonic() < last_change + self._silence_s():
            self._check_alive()
            if (now_seen := self._note_new()) > seen:
                waiting -= {stamp for stamp, _ in self._collector.arrivals[seen:now_seen]}
                seen, last_change = now_seen, time.monotonic()
            time.sleep(POLL_S)

    def _silence_s(self) -> float:
        """Return how long no mask may come."""
        if not self._collector.count:
            return _FIRST_SILENCE_S
        return min(max(_SILENCE_FACTOR * self._longest_s, _MIN_SILENCE_S), SILENCE_TIMEOUT_S)

    def _replay(
        self,
        start: Start,
        outcome: dict[str, Any],
        played: list[tuple[int, int, int]],
        load: Load,
    ) -> Replay:
        arrivals = self._collector.arrivals[start.masks :]
        answers, odd = match(played, arrivals, self._earlier)
        self._earlier.update(stamp for stamp, *_ in played)
        if odd['unknown_stamp'] and not answers:
            refuse_stamps(played, arrivals)
        replay = Replay(
            played,
            answers,
            self._report(),
            load=load,
            extra_counts=outcome['extra_counts'],
            skipped=outcome['skipped'],
            odd_masks=odd,
        )
        longest_s = max((ms for _, ms, _ in replay.latencies()), default=0.0) / 1e3
        self._longest_s = max(self._longest_s, longest_s)
        return replay

    def _check_type(self) -> None:
        """Refuse a topic of masks on which only other types are published."""
        types = {each.topic_type for each in self._collector.publishers()}
        if types and IMAGE not in types:
            msg = (
                f'{self._wiring.mask_topic} is {listed(sorted(types))}, masks are {IMAGE}'
                f'{self._others(published=True)}: name the topic of the masks with --mask-topic'
            )
            raise ProcessError(msg)

    def _refuse_deafness(self) -> NoReturn:
        msg = (
            f'nobody subscribed to {self._frames}, where the frames are sent, within '
            f'{self._wiring.start_timeout_s:.0f} s{self._others(published=False)}: name the topic '
            'that the node listens to with --image-topic, or remap it to {image_topic} in '
            f'--command; its log closes with:\n{self.node.last_lines()}'
        )
        raise ProcessError(msg)

    def _refuse_silence(self, sent: int) -> NoReturn:
        topic = self._wiring.mask_topic
        has = 'no mask came on' if self._collector.publishers() else 'nobody publishes on'
        msg = (
            f'{sent} frames were sent, and {has} {topic} within '
            f'{self._wiring.start_timeout_s:.0f} s{self._others(published=True)}: name the topic '
            'of the masks with --mask-topic, or give the node longer with --start-timeout; its '
            f'log closes with:\n{self.node.last_lines()}'
        )
        raise ProcessError(msg)

    def _others(self, *, published: bool) -> str:
        """Return a part of a sentence that names the topics of images that there are."""
        own = self._wiring.mask_topic if published else self._frames
        topics = [
            each
            for each in self._collector.image_topics(published=published)
            if each.partition(' ')[0] not in (own, self._frames)
        ]
        what = 'images are published on' if published else 'images are listened to on'
        return f' ({what} {listed(topics)})' if topics else ''


def refuse_stamps(
    played: Sequence[tuple[int, int, int]], arrivals: Sequence[tuple[int, int]]
) -> NoReturn:
    """
    Refuse masks that no frame has the stamps of.

    Args:
        played: as of `Replay`.
        arrivals: stamp of each mask and when it came, ns.

    Raises:
        ProcessError: always.

    """
    stamp = arrivals[-1][0]
    away = (stamp - played[-1][0]) / 1e9 if played else 0.0
    msg = (
        f'{len(arrivals)} masks came, none with the stamp of a frame: the last one is stamped '
        f'{stamp / 1e9:.3f} s, {abs(away):.3f} s {"after" if away > 0 else "before"} the last '
        'frame. A mask has to carry the header of its frame: a node that stamps by its own clock '
        'cannot be measured frame by frame'
    )
    raise ProcessError(msg)


def match(
    played: Sequence[tuple[int, int, int]],
    arrivals: Sequence[tuple[int, int]],
    earlier: set[int],
) -> tuple[list[tuple[int, int]], dict[str, int]]:
    """
    Find the masks of frames by their stamps.

    Args:
        played: as of `Replay`.
        arrivals: stamp of each mask and when it came, ns.
        earlier: stamps of frames that were played before; masks of those count nowhere.

    Returns:
        The first mask of each frame, and `odd_masks` as of `Replay`.

    """
    stamps = {stamp for stamp, *_ in played}
    answers: dict[int, int] = {}
    odd = {'unknown_stamp': 0, 'repeated': 0}
    for stamp, arrival in arrivals:
        if stamp in answers:
            odd['repeated'] += 1
        elif stamp in stamps:
            answers[stamp] = arrival
        elif stamp not in earlier:
            odd['unknown_stamp'] += 1
    return list(answers.items()), odd
