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
Pictures of H.264 and H.265 streams, packet by packet, by the FFmpeg of PyAV.

A packet goes in with a tag, such as the header of its message, and a picture comes out with the
tag of the packet that held it: FFmpeg hands a number through, as `pts`. So a picture that comes
later than its packet, as B-frames and threads let it, has its own tag and never a neighbor's.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.resources import available_cores
from uhr_seg_ros.core.text import one_line
from uhr_seg_ros.image_io.h264_headers import H264Headers
from uhr_seg_ros.image_io.h265_headers import H265Headers
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.image_io.nal_units import Access, BitsError

H264, H265 = 'h264', 'hevc'

#: Codec -> how people write it.
TITLES = {H264: 'H.264', H265: 'H.265'}

_HEADERS: dict[str, type[H264Headers | H265Headers]] = {H264: H264Headers, H265: H265Headers}

#: For the slices of a picture.
_THREADS = 4

# A picture comes at most so many packets after its own, for its place in the order of display.
_MAX_BEHIND = 32

_NO_SETS = 'no parameter sets have come: let the encoder repeat them with each key picture'


@dataclass
class StreamCounts:
    """
    What became of packets.

    Attributes:
        packets: all that came.
        pictures: that were decoded, whether someone wanted them or not.
        lost: how often a picture that others refer to had not come.
        corrupt: packets that could not be decoded.
        waiting: packets without a picture, since no key picture had come, or none after a loss.
        skipped: packets that were not decoded, since nobody wanted their pictures or needs them.
    """

    packets: int = 0
    pictures: int = 0
    lost: int = 0
    corrupt: int = 0
    waiting: int = 0
    skipped: int = 0

    @property
    def held(self) -> int:
        """How many packets have a picture that comes later, as B-frames let it."""
        return self.packets - self.pictures - self.corrupt - self.waiting - self.skipped


class Picture(NamedTuple):
    """
    A decoded picture, still in the colors of its stream.

    Attributes:
        tag: of the packet that held it.
        height: px.
        width: px.
        frame: of PyAV.
    """

    tag: Any
    height: int
    width: int
    frame: Any

    @property
    def bgr(self) -> np.ndarray:
        """
        Its pixels, (H, W, 3) uint8 BGR; converted whenever it is asked for.

        The stream says which matrix and range its colors have; where it does not, BT.601 and the
        limited range, as with FFmpeg.
        """
        pixels: np.ndarray = self.frame.to_ndarray(format='bgr24')
        return pixels


class VideoDecoder:
    """
    Decodes the packets of one stream, each the units of one picture in the form of Annex B.

    Decoding begins with a key picture. When a picture that others refer to has not come, or a
    packet is damaged, it begins again with the next one: what FFmpeg would make up in between
    looks like a picture of the camera.

    Args:
        codec: `H264` or `H265`.
        limit: pictures that are larger are refused.
        device: `cpu`, or `cuda` for the decoder of an NVIDIA GPU.
        counts: to go on with; None for new ones.

    Attributes:
        counts: what became of the packets.
        reason: why the packets that came last gave no picture; empty if they did.

    Raises:
        ImageError: PyAV is not installed, or the device cannot decode.
    """

    def __init__(
        self,
        codec: str,
        limit: FrameLimit = FrameLimit(),  # noqa: B008 - it cannot change
        device: str = 'cpu',
        counts: StreamCounts | None = None,
    ) -> None:
        self.codec, self._limit = codec, limit
        self.counts = StreamCounts() if counts is None else counts
        self.reason = 'no key picture has come yet'
        self._headers = _HEADERS[codec]()
        self._av = _av(codec)
        self._device = device
        self._context = _open(self._av, codec, device)
        self._tags: dict[int, Any] = {}
        self._number = 0
        self._needs_sets = False  # those that came before go with the next picture
        self._waits, self._is_running = True, False
        self._size: tuple[int, int] | None = None

    def decode(self, data: bytes, tag: Any, *, is_wanted: bool = True) -> list[Picture]:
        """
        Decode a packet.

        Args:
            data: the units of a picture, or parameter sets.
            tag: what its picture is known by.
            is_wanted: whether the picture is of use; where not, and no other one refers to it, it
                is not decoded.

        Returns:
            The pictures that are complete, in the order of display: most often that of the
            packet; none, or several, where the stream shows them in another order.

        Raises:
            ImageError: the packet cannot be decoded; the stream goes on with its next key picture.
        """
        self.counts.packets += 1
        try:
            access = self._headers.read(data)
            self._check_size()
            return self._decode(data, tag, access, is_wanted)
        except (ImageError, BitsError, self._av.FFmpegError) as err:
            self._renew()
            self.reason = one_line(err)
            msg = (
                f'{TITLES[self.codec]} packet ({len(data)} bytes) cannot be decoded: {self.reason}'
            )
            raise ImageError(msg) from err

    def finish(self) -> list[Picture]:
        """Return the pictures that were held back when the stream ended, and begin anew."""
        try:
            pictures = self._pictures(None) if self._is_running else []
        except (ImageError, self._av.FFmpegError):
            self._renew()
            return []
        self._begin_again()
        return pictures

    def _decode(self, data: bytes, tag: Any, access: Access, is_wanted: bool) -> list[Picture]:
        held: list[Picture] = []
        if access.is_lost and not self._waits:
            self.counts.lost += 1
            held = self.finish()
            self.reason = 'a picture that others refer to was lost'
        if not access.has_picture:  # FFmpeg takes sets with a picture alone
            self._needs_sets = True
            return held
        if access.lacks_sets:
            self._begin_again()
            self.reason = _NO_SETS
        if access.lacks_sets or access.is_leading or (self._waits and not access.is_key):
            self.counts.waiting += 1
            if self._waits:
                self._headers.restart()
            return held
        self._waits = False
        if access.is_disposable and not is_wanted:
            self.counts.skipped += 1
            return held
        self._number += 1
        self._tags[self._number] = tag
        while next(iter(self._tags)) < self._number - _MAX_BEHIND:
            del self._tags[next(iter(self._tags))]
        if self._needs_sets and not access.has_sets:
            data = self._headers.sets + data
        packet = self._av.Packet(data)
        packet.pts, self._needs_sets, self._is_running = self._number, False, True
        return held + self._pictures(packet)

    def _pictures(self, packet: Any) -> list[Picture]:
        """Hand a packet to FFmpeg, None at the end, and return the pictures that come out."""
        pictures = []
        for frame in self._context.decode(packet):
            if frame.is_corrupt:
                msg = 'parts of its picture are damaged'
                raise ImageError(msg)
            self._limit.check(f'{TITLES[self.codec]} picture', frame.height, frame.width)
            if frame.pts in self._tags:  # what has no tag of its own gets none
                tag = self._tags.pop(frame.pts)
                pictures.append(Picture(tag, frame.height, frame.width, frame))
        self.counts.pictures += len(pictures)
        if pictures:
            self.reason = ''
        return pictures

    def _begin_again(self) -> None:
        """Forget all pictures, and wait for a key picture."""
        if self._is_running:
            self._context.flush_buffers()
        self._headers.restart()
        self._tags.clear()
        self._waits, self._is_running = True, False
        self.reason = 'no key picture has come yet'

    def _renew(self) -> None:
        """Note damage: FFmpeg leaves coefficients of a broken block to the next, even flushed."""
        self.counts.corrupt += 1
        self._is_running = False
        self._begin_again()
        self._needs_sets = True
        self._context = _open(self._av, self.codec, self._device)

    def _check_size(self) -> None:
        """Refuse a stream that is too large, before FFmpeg takes memory for it."""
        if self._headers.size not in (None, self._size):
            self._limit.check(f'{TITLES[self.codec]} stream', *self._headers.size)
            self._size = self._headers.size


def check_decoder(device: str) -> None:
    """
    Load PyAV, which takes a while, and open a device; see `VideoDecoder`.

    Raises:
        ImageError: it is not installed, or the device cannot decode.
    """
    _open(_av(H264), H264, device)


def _av(codec: str) -> ModuleType:
    try:
        import av
    except ImportError as err:
        msg = (
            f'{TITLES[codec]} is decoded by PyAV, which cannot be imported ({err}): pip install av'
        )
        raise ImageError(msg) from err
    return av


def _open(av: ModuleType, codec: str, device: str) -> Any:
    """Return a decoder of PyAV; its log stays off, as PyAV has it."""
    try:
        more = {}
        if device != 'cpu':
            from av.codec.hwaccel import HWAccel

            more['hwaccel'] = HWAccel(device, allow_software_fallback=True)
        context = av.CodecContext.create(codec, 'r', **more)
    except (av.FFmpegError, ImportError, ValueError, TypeError) as err:
        what = f'{TITLES[codec]} cannot be decoded on {device} by PyAV {av.__version__}'
        way_out = '' if device == 'cpu' else '; set decoder to cpu'
        msg = f'{what}: {one_line(err)}{way_out}'
        raise ImageError(msg) from err
    # Threads for slices hold back nothing; those for pictures one picture each, and its errors.
    context.thread_type = 'SLICE'
    context.thread_count = min(_THREADS, available_cores())
    context.options = {'flags': '+low_delay'}
    if codec == H265:  # whose pictures do not say that parts are damaged
        context.options |= {'err_detect': 'explode'}
    return context
