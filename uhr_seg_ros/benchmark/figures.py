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

"""
The figures of a replay.

Throughput, drops and jitter are defined as in NVIDIA's ros2_benchmark, whose latency is that of
the first and the last frame; here every mask has one, matched by the stamp of its frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
import logging
import re
from typing import Any, TYPE_CHECKING

import numpy as np

from uhr_seg_ros.core.bundle_kinds import BundleKind
from uhr_seg_ros.core.timing import LatencyWindow, NODE_STAGES

if TYPE_CHECKING:
    from uhr_seg_ros.replay.results import Replay

PERCENTILES = (50, 90, 95, 99)

#: A rate is kept up with if this share of the frames is answered.
SUSTAINED = 0.95


# What changes from one report to the next.
_MEASURED = re.compile('state|frames_.*|gpu_.*|detail_share|.*_m?s')


def engine_facts(diagnostics: Mapping[str, str]) -> dict[str, str]:
    """Return what the node's diagnostics say about what runs: all but states and figures."""
    return {key: value for key, value in diagnostics.items() if not _MEASURED.fullmatch(key)}


def figures(replay: Replay) -> dict[str, Any]:
    """
    Return the figures of one replay.

    Returns:
        `frames`: `sent`, `masks`, and what became of the others: `dropped` (a newer frame took
        the place of one that waited), `rejected` (malformed), `lost_before_node` and
        `lost_after_node` (in DDS), or, of a node that does not tell, `unanswered`; `odd_masks` of
        such a node: see `Replay`; `sent_hz`, `throughput_hz`: number / (last - first);
        `skipped`: messages that are not whole and were not sent;
        `answered`: masks / sent; `latency_ms` and `stamp_to_mask_ms`: see `spread`;
        `first_ms`, `last_ms`: latency of the first and of the last mask; `jitter_ms`: mean, max
        and std of the second difference of the masks' arrivals; `stage_ms`: stage -> `spread`;
        `load`: see `Load`.
    """
    latencies = replay.latencies()
    arrivals = [arrival for _, arrival in replay.arrivals]
    sent, masks = len(replay.played), len(arrivals)
    return {
        'frames': {'sent': sent, 'masks': masks, **_others(replay, sent, masks)},
        'skipped': replay.skipped,
        'sent_hz': frame_rate([when for _, when, _ in replay.played]),
        'throughput_hz': frame_rate(arrivals),
        'answered': round(masks / sent, 4) if sent else 0.0,
        'latency_ms': spread(ms for _, ms, _ in latencies),
        'stamp_to_mask_ms': spread(ms for _, _, ms in latencies),
        'first_ms': round(latencies[0][1], 3) if latencies else None,
        'last_ms': round(latencies[-1][1], 3) if latencies else None,
        'jitter_ms': jitter(arrivals),
        'stage_ms': stage_spread(list(replay.stages.values())),
        'load': _load(replay),
        **({'odd_masks': dict(replay.odd_masks)} if replay.odd_masks else {}),
    }


def _others(replay: Replay, sent: int, masks: int) -> dict[str, int]:
    """Return what became of the frames that have no mask."""
    counts = replay.counts
    if not counts:
        return {'unanswered': sent - masks}
    return {
        'dropped': counts['dropped'],
        'rejected': counts['rejected'],
        'lost_before_node': sent - counts['received'],
        'lost_after_node': counts['processed'] - masks,
    }


def _load(replay: Replay) -> dict[str, Any] | None:
    if replay.load is None:
        return None
    load = asdict(replay.load)
    del load['memory_series']  # drawn, see `series`
    return load


def series(replay: Replay) -> dict[str, Any]:
    """
    Return what is drawn over time.

    Returns:
        `time_s`: when each answered frame was published, from the first one on, and its
        `latency_ms`; `unanswered_s`: when each other frame was; `stage_ms`: stage -> ms of every
        answered frame whose times the node published; `memory`: [s, MB] of the node.
    """
    start = replay.played[0][1] if replay.played else 0
    latencies = replay.latencies()
    answered = {when for when, _, _ in latencies}
    others = [when for _, when, _ in replay.played if when not in answered]
    names = list(dict.fromkeys(name for times in replay.stages.values() for name in times))
    return {
        'time_s': [round((when - start) / 1e9, 4) for when, _, _ in latencies],
        'latency_ms': [round(ms, 3) for _, ms, _ in latencies],
        'unanswered_s': [round((when - start) / 1e9, 4) for when in others],
        'stage_ms': {
            name: [times.get(name, 0.0) for times in replay.stages.values()] for name in names
        },
        'memory': replay.load.memory_series if replay.load else [],
    }


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return mean, p50, p90, p95, p99 and max; nothing for no values."""
    values = list(values)
    if not values:
        return {}
    percentiles = np.percentile(values, PERCENTILES).tolist()
    named = {f'p{name}': value for name, value in zip(PERCENTILES, percentiles, strict=True)}
    whole = {'mean': float(np.mean(values)), **named, 'max': max(values)}
    return {name: round(value, 3) for name, value in whole.items()}


def percentiles(milliseconds: Iterable[float]) -> dict[str, float]:
    """Return p50, p95, p99 and max, in ms with three digits; nothing for no values."""
    values = list(milliseconds)
    window = LatencyWindow(max(len(values), 1))
    for value in values:
        window.add(value)
    return {key: round(value, 3) for key, value in window.percentiles().items()}


def stage_percentiles(diagnostics: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Turn the node's keys such as `detail_p95_ms` into stage -> percentile -> ms."""
    stages: dict[str, dict[str, float]] = {}
    for key, value in diagnostics.items():
        stage, _, rest = key.rpartition('_p')
        if rest in ('50_ms', '95_ms', '99_ms'):
            stages.setdefault(stage, {})[f'p{rest[:2]}'] = float(value)
    return stages


def segmenter_stages(
    stages: Mapping[str, Mapping[str, float]], kind: BundleKind
) -> dict[str, float]:
    """
    Return the medians of the segmenter's stages: all that the node does not name as its own.

    A stage that neither the node nor the kind of bundle declares is counted, with a warning.

    Args:
        stages: stage -> percentile -> ms, as the node reports them.
        kind: of the bundle that the node ran.

    Returns:
        Stage -> ms.

    """
    found = {name: times['p50'] for name, times in stages.items() if name not in NODE_STAGES}
    if unknown := [name for name in found if name not in kind.stages]:
        logging.getLogger(__name__).warning(
            "bundles of kind %s declare no stage %s: counted as the segmenter's",
            kind,
            ', '.join(unknown),
        )
    return found


def stage_spread(frames: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the `spread` of every stage over frames; a stage that a frame skipped took 0 ms."""
    names = dict.fromkeys(name for times in frames for name in times)
    return {name: spread(times.get(name, 0.0) for times in frames) for name in names}


def frame_rate(times_ns: Sequence[int]) -> float | None:
    """Return frames per second as ros2_benchmark does, number / (last - first); None below two."""
    if len(times_ns) < 2 or times_ns[-1] == times_ns[0]:
        return None
    return round(len(times_ns) / ((times_ns[-1] - times_ns[0]) / 1e9), 3)


def jitter(times_ns: Sequence[int]) -> dict[str, float]:
    """Return mean, max and std of |second difference| of arrivals, ms; nothing below three."""
    if len(times_ns) < 3:
        return {}
    changes = np.abs(np.diff(np.asarray(times_ns, np.float64) / 1e6, n=2))
    found = {'mean': changes.mean(), 'max': changes.max(), 'std': changes.std()}
    return {name: round(float(value), 3) for name, value in found.items()}


def is_sustained(result: Mapping[str, Any], rate_hz: float) -> bool:
    """Tell if a rate was played, and 95 % of the frames answered."""
    sent_hz = result['sent_hz'] or 0.0
    return result['answered'] >= SUSTAINED and sent_hz >= SUSTAINED * rate_hz


def without_extremes(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """
    Join runs figure by figure: the best and the worst are dropped, the others averaged.

    Args:
        runs: at least three, as `figures` gives them.
    """
    return {name: _joined([run[name] for run in runs]) for name in runs[0]}


def _joined(values: list[Any]) -> Any:
    first = next((value for value in values if value is not None), None)
    if isinstance(first, Mapping):
        mappings = [value or {} for value in values]
        names = dict.fromkeys(name for value in mappings for name in value)
        return {name: _joined([value.get(name) for value in mappings]) for name in names}
    if isinstance(first, Sequence):
        return [_joined(list(column)) for column in zip(*values, strict=True)]
    known = sorted(value for value in values if value is not None)
    kept = known[1:-1] if len(known) > 2 else known
    return round(sum(kept) / len(kept), 3) if kept else None
