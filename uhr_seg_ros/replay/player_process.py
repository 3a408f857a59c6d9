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

"""The player in a process of its own, and how it plays a recording."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
import json
from pathlib import Path
import subprocess
from typing import Any, BinaryIO, cast

from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.core.interruption import END_EARLY, signals_held
from uhr_seg_ros.core.subprocesses import python_child
from uhr_seg_ros.replay.bags import ImageTopic

# How long the player may take to end.
_END_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Pacing:
    """
    How a recording is played.

    Attributes:
        rate_hz: frames per second; 0 as recorded.
        lockstep: each frame when the one before it was answered, whatever the rate.
        duration_s: how long, repeating the recording as often as that takes; 0: once.
        live: frames get stamps of now, so that they are unique; else they stay as recorded.
        every: play only every n-th frame.
        extra_topics: of calibrations and clouds, which are played under their own names; their
            stamps stay as recorded, so not for `live`.

    """

    rate_hz: float = 0.0
    lockstep: bool = False
    duration_s: float = 0.0
    live: bool = False
    every: int = 1
    extra_topics: tuple[str, ...] = ()

    def options(self) -> list[str]:
        """Return the options of the player."""
        return [
            *('--rate', str(self.rate_hz)),
            *('--duration', str(self.duration_s)),
            *('--every', str(self.every)),
            *(['--lockstep'] if self.lockstep else []),
            *(['--live'] if self.live else []),
            *(option for topic in self.extra_topics for option in ('--extra-topic', topic)),
        ]


class PlayerProcess:
    """
    Starts the player; as a context manager it ends it too, and reports its failure.

    Args:
        bag: the recording.
        topic: its images.
        pacing: when which frame goes.
        folder: where its log and what it noted go.
        published: topic of the frames; empty: `image_raw`. Compressed ones go to one below it.
        calibration: topic of calibrations in the recording, and topic to send the first one of
            them on with every frame, under the frame's stamp; None: none is sent.

    """

    def __init__(
        self,
        bag: Path,
        topic: ImageTopic,
        pacing: Pacing,
        folder: Path,
        published: str = '',
        calibration: tuple[str, str] | None = None,
    ) -> None:
        self._log = folder / 'player.log'
        self._outcome = folder / 'played.json'
        self._outcome.unlink(missing_ok=True)
        options = [
            *pacing.options(),
            *('--log', str(self._outcome)),
            *('--recorded-topic', topic.name),
            *('--recorded-type', topic.type),
            *(['--topic', published] if published else []),
            *(['--calibration', *calibration] if calibration else []),
        ]
        player = python_child('uhr_seg_ros.replay.player', bag, *options)
        with signals_held(), self._log.open('wb') as file:
            self._process = subprocess.Popen(
                **player, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT
            )

    def is_running(self) -> bool:
        """Tell if the player has not ended."""
        return self._process.poll() is None

    def answer(self, count: int) -> None:
        """Tell the player of so many more answers, in lock step."""
        with suppress(BrokenPipeError):  # it has ended meanwhile
            self._input.write(b'.' * count)
            self._input.flush()

    def interrupt(self) -> None:
        """Let the player end early and note what it has played, as Ctrl-C does."""
        if self.is_running():
            self._process.send_signal(END_EARLY)

    def outcome(self) -> dict[str, Any]:
        """
        Wait for the end of the player and read what it noted; see `player`.

        Raises:
            ProcessError: it failed.

        """
        if self._process.wait():
            text = self._log.read_text(encoding='utf-8', errors='replace').strip()
            msg = f'the player ended with code {self._process.returncode}: {text}'
            raise ProcessError(msg)
        return json.loads(self._outcome.read_text(encoding='utf-8'))

    def stop(self) -> None:
        """End the player by SIGTERM, or by SIGKILL if that takes more than 10 s."""
        with suppress(BrokenPipeError):  # it has ended, and left bytes in the pipe
            self._input.close()
        if self.is_running():
            self._process.terminate()
            try:
                self._process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> PlayerProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def _input(self) -> BinaryIO:
        return cast('BinaryIO', self._process.stdin)  # a pipe is requested above
