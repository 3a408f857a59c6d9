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

"""Which image topic of a recording is meant: never chosen silently between unlike things."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
import logging
from pathlib import Path
import posixpath
import re

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.bags import (
    IMAGE,
    image_topics,
    IMAGE_TYPES,
    ImageTopic,
    topic_types,
)
from uhr_seg_ros.replay.topic_probe import (
    DEEP,
    GRAY,
    ImageInfo,
    probe_topics,
    UNKNOWN,
    VIDEO,
    WIDE,
)
from uhr_seg_ros.ros.messages.encoded import codec_named

_LOG = logging.getLogger(__name__)

#: Image topics that the node publishes, below its own name or that and the name of a camera.
PUBLISHED = (
    *('mask', 'confidence', 'overlay', 'color_mask', 'sampling', 'diagnostics_image'),
    *('mask_aligned', 'confidence_aligned'),
)
_IDS = ('mask', 'confidence', 'mask_aligned', 'confidence_aligned')
_NODE_NAME = 'segmentation'

# What the last two parts of a name may contain, in lower case.
_DEPTH_NAME = re.compile(r'depth|disparity|(^|[/_])range([/_]|$)')
_MASK_NAME = re.compile(
    r'mask|label|segm|semantic|panoptic|instance|confidence|probabilit|costmap'
    r'|(^|[/_])(seg|ids|class|classes)([/_]|$)'
)
_DRAWN_NAME = re.compile(
    r'overlay|annotat|visuali[sz]|heatmap|colormap|colori[sz]ed'
    r'|(^|[/_])(debug|detections?|viz|results?|matches|tracks)([/_]|$)'
)
_CAMERA_NAME = re.compile(r'(^|[/_])(image|cam|infra|ir|left|right|mono|gr[ae]y|thermal)')

_NOT_DECODED = 'video of a codec that is not decoded: H.264 and H.265 are'

# What transports append to the topic of a camera.
_TRANSPORTS = '/compressed', '/compressedDepth', '/ffmpeg', '/foxglove'

# From the likeliest on; what is beyond is taken only when it is named.
_CAMERA, _GRAY, _DRAWN, _UNKNOWN, _NEVER = range(5)


@dataclass(frozen=True)
class _Candidate:
    """
    An image topic and what it seems to be.

    Attributes:
        topic: of the recording.
        info: what its first messages say.
        rank: how likely it is meant, 0 first.
        reason: why it is less likely than a color camera; may be empty.
        is_refused: it is not a picture, whoever asks for it.

    """

    topic: ImageTopic
    info: ImageInfo
    rank: int
    reason: str = ''
    is_refused: bool = False

    def __str__(self) -> str:
        kind = self.topic.type.rpartition('/')[2]
        size = f' {self.info.width}x{self.info.height}' if self.info.width else ''
        encoding = f' {self.info.encoding.strip()!r}' if self.info.encoding else ''
        return f'{self.topic.name} ({kind}{encoding}{size}, {self.topic.count} messages)'

    def with_reason(self) -> str:
        """Describe it, with the reason why it is left out."""
        return f'{str(self)[:-1]}: {self.reason})' if self.reason else str(self)


def choose_topic(path: Path, name: str = '', *, log_level: int = logging.INFO) -> ImageTopic:
    """
    Find the image topic that is meant, by the types, names and first messages of all.

    A color camera goes before a gray one. Depth, masks, and what the node publishes itself are
    left out. Of the same camera, raw and compressed, the raw topic is taken unless it holds less
    than half of the messages.

    Args:
        path: a recording.
        name: the topic; slashes at its ends do not matter. Empty: the only likely one.
        log_level: of the line with the topic that was chosen, and the others with the reasons
            why they were left out; a doubtful choice is a warning at any level.

    Raises:
        RecordingError: not a recording, or a damaged one.
        RecordingError: there is no such topic, none with pictures of a camera, or several that are
            equally likely.

    """
    topics = image_topics(path)
    candidates = _candidates(path, topics)
    if not name:
        candidates = _without_transports(candidates)
    chosen = _named(path, name, candidates) if name else _likeliest(path, candidates)
    others = [each for each in candidates if each is not chosen]
    text = f'topic {chosen}'
    if chosen.reason:
        log_level = logging.WARNING
        text = f'warning: {text}: {chosen.reason}'
    if others and not name:
        text += f'; left out: {", ".join(each.with_reason() for each in others)}'
    _LOG.log(log_level, text)
    return chosen.topic


def _candidates(path: Path, topics: Sequence[ImageTopic]) -> list[_Candidate]:
    full = [topic for topic in topics if topic.count]
    repeated = {name for name, count in Counter(each.name for each in full).items() if count > 1}
    infos = probe_topics(
        path, {each.name: each.type for each in full if each.name not in repeated}
    )
    names = {_base(topic) for topic in full}
    found = []
    for topic in topics:
        if topic.name in infos:
            found.append(_judge(topic, infos[topic.name], names))
        elif topic.name in repeated and topic.count:
            reason = 'two types under one name'
            found.append(_Candidate(topic, ImageInfo(), _NEVER, reason, is_refused=True))
        else:
            found.append(_Candidate(topic, ImageInfo(), _NEVER, 'no messages', is_refused=True))
    return found


def _judge(topic: ImageTopic, info: ImageInfo, names: Collection[str]) -> _Candidate:
    """Judge what a topic seems to be."""
    if topic.type != IMAGE:
        topic = replace(topic, codec=codec_named(info.encoding))
    base = _base(topic)
    published = _published(base, names)
    name = '/'.join(base.split('/')[-2:]).lower()
    is_depth, is_mask = (bool(each.search(name)) for each in (_DEPTH_NAME, _MASK_NAME))
    if published in _IDS:
        return _Candidate(topic, info, _NEVER, f'a {published} of this package', is_refused=True)
    if published:
        return _Candidate(topic, info, _NEVER, 'drawn by this package')
    if not info.is_readable:
        return _Candidate(topic, info, _UNKNOWN, 'none of its first messages is whole')
    if info.pixels == VIDEO:
        return _Candidate(topic, info, _NEVER, _NOT_DECODED, is_refused=True)
    if info.pixels == WIDE or (info.pixels == DEEP and is_depth):
        reason = 'labels, not a picture' if is_mask else 'is depth, not a picture'
        return _Candidate(topic, info, _NEVER, reason, is_refused=True)
    if info.pixels == DEEP:
        return _Candidate(topic, info, _NEVER, '16 bits of one channel, as depth has')
    if info.pixels == GRAY and is_mask:
        return _Candidate(topic, info, _NEVER, 'a mask by its name')
    if info.has_ids and not _CAMERA_NAME.search(base.lower()):
        return _Candidate(topic, info, _NEVER, 'its pixels are small numbers, as those of a mask')
    if is_depth or is_mask or _DRAWN_NAME.search(name):
        return _Candidate(topic, info, _DRAWN, 'not of a camera by its name')
    if info.pixels == GRAY:
        return _Candidate(topic, info, _GRAY, 'gray')
    if info.pixels == UNKNOWN and topic.type == IMAGE:
        return _Candidate(topic, info, _UNKNOWN, 'an encoding that is not known here')
    return _Candidate(topic, info, _CAMERA)


def _published(name: str, names: Collection[str]) -> str:
    """Return the output of the node that a topic is, if it is one; its siblings may show it."""
    *parents, last = name.split('/')
    if last not in PUBLISHED:
        return ''
    if last == 'diagnostics_image' or _NODE_NAME in parents[-2:]:
        return last
    folder = '/'.join(parents)
    siblings = {each for each in PUBLISHED if f'{folder}/{each}' in names}
    return last if 'mask' in siblings and len(siblings) > 1 else ''


def _base(topic: ImageTopic) -> str:
    """Return the name without that of the transport."""
    name = _normal(topic.name)
    return posixpath.dirname(name) if topic.type != IMAGE and name.endswith(_TRANSPORTS) else name


def _without_transports(candidates: list[_Candidate]) -> list[_Candidate]:
    """Leave one of the topics of the same camera, raw and compressed."""
    left_out = {}
    for each in candidates:
        raw = _plainest(each, candidates)
        # Where they are not equals, such as a raw one that cannot be read, the ranks decide.
        if (
            raw is each
            or _NEVER in (raw.rank, each.rank)
            or (raw.rank != each.rank and each.info.pixels != UNKNOWN)
        ):
            continue
        if 2 * raw.topic.count >= each.topic.count:
            left_out[each.topic.name] = f'the same as {raw.topic.name}, compressed'
        else:
            left_out[raw.topic.name] = f'the same as {each.topic.name}, which has more messages'
    return [
        replace(each, rank=_NEVER, reason=left_out[each.topic.name])
        if each.topic.name in left_out
        else each
        for each in candidates
    ]


def _plainest(each: _Candidate, candidates: Sequence[_Candidate]) -> _Candidate:
    """Return the topic of the same camera that is the easiest to read: raw, or else compressed."""
    base = _base(each.topic)
    names = (base, *(base + suffix for suffix in _TRANSPORTS))
    same = [other for other in candidates if other.topic.name in names]
    return min(same, key=lambda other: IMAGE_TYPES.index(other.topic.type), default=each)


def _likeliest(path: Path, candidates: Sequence[_Candidate]) -> _Candidate:
    best = min((each.rank for each in candidates), default=_NEVER)
    likely = [each for each in candidates if each.rank == best]
    if best == _NEVER:
        full = [each.with_reason() for each in candidates if each.topic.count]
        msg = (
            f'{path} has no images; its image topics: '
            f'{", ".join(each.topic.name for each in candidates) or "none"}{_not_read(path)}'
        )
        if full:
            msg = (
                f'{path} has no images that seem to be of a camera: {", ".join(full)}: name '
                f'one with --topic if it is one after all{_not_read(path)}'
            )
        raise RecordingError(msg)
    if len(likely) > 1:
        others = [each.with_reason() for each in candidates if each.rank != best]
        left_out = f' (left out: {", ".join(others)})' if others else ''
        msg = (
            f'{path} has {len(likely)} image topics that are equally likely: '
            f'{", ".join(map(str, likely))}: choose one with --topic{left_out}'
        )
        raise RecordingError(msg)
    return likely[0]


def _named(path: Path, name: str, candidates: Sequence[_Candidate]) -> _Candidate:
    wanted = _normal(name)
    found = [each for each in candidates if _normal(each.topic.name) == wanted]
    if not found:
        kinds = {_normal(topic): kind for topic, kind in topic_types(path).items()}
        what = f', but {kinds[wanted]}' if wanted in kinds else ''
        known = ', '.join(each.topic.name for each in candidates if each.topic.count) or 'none'
        msg = f'{path} has no images on {name}{what}; its image topics: {known}'
        raise RecordingError(msg)
    if found[0].is_refused:
        others = [str(each) for each in candidates if each.rank < _NEVER]
        instead = f'; others are {", ".join(others)}' if others else ''
        msg = f'{path} has no images on {found[0].with_reason()}{instead}'
        raise RecordingError(msg)
    return found[0]


def _normal(name: str) -> str:
    """Return a name with a slash in front and none at the end."""
    return f'/{name.strip().strip("/")}'


def _not_read(path: Path) -> str:
    """Name the topics whose type sounds like pictures, but is not read."""
    sounding = [
        f'{name} is {kind}'
        for name, kind in topic_types(path).items()
        if re.search(r'Image|Video|Packet', kind) and kind not in IMAGE_TYPES
    ]
    return f' ({", ".join(sounding)}, which is not read)' if sounding else ''
