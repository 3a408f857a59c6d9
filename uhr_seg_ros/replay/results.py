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

"""What a replay gave: frames, masks, and what the node said of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from uhr_seg_ros.replay.collector import NodeReport
from uhr_seg_ros.replay.load import Load

#: What the node counts of the frames.
COUNTERS = ('received', 'processed', 'dropped', 'rejected')


@dataclass(frozen=True)
class Replay:
    """
    What a replay gave.

    Attributes:
        played: stamps, times of publication, and age of the stamps at that time, ns.
        arrivals: stamps of the masks and times of arrival, ns.
        report: the node's last diagnostics.
        counts: what the node counted meanwhile, a number for each of `COUNTERS`; empty for a node
            that does not tell.
        stages: stamp of a frame -> ms per stage, as the node published them.
        load: what the processes took meanwhile.
        extra_counts: topic -> how many messages were played beside the frames.
        skipped: messages that were not played, because they are not whole.
        unsaved: why files could not be written, a line for each.
        odd_masks: `unknown_stamp`: masks with a stamp that no frame has; `repeated`: masks beyond
            the first one of a frame; neither is among the arrivals. Empty for our own node.

    """

    played: list[tuple[int, int, int]]
    arrivals: list[tuple[int, int]]
    report: NodeReport
    counts: Mapping[str, int] = field(default_factory=dict)
    stages: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    load: Load | None = None
    extra_counts: Mapping[str, int] = field(default_factory=dict)
    skipped: int = 0
    unsaved: tuple[str, ...] = ()
    odd_masks: Mapping[str, int] = field(default_factory=dict)

    def latencies(self) -> list[tuple[int, float, float]]:
        """
        Match masks with frames by unique stamps.

        Returns:
            Per mask when its frame was published, ns, and how long it took from there, and from
            the frame's stamp, until the mask arrived, ms.

        """
        repeats = Counter(stamp for stamp, _, _ in self.played)
        published = {stamp: (when, age) for stamp, when, age in self.played if repeats[stamp] == 1}
        matched = []
        for stamp, arrival in self.arrivals:
            if stamp in published:
                when, age = published[stamp]
                matched.append((when, (arrival - when) / 1e6, (arrival - when + age) / 1e6))
        return matched
