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

"""Streams and what goes wrong with them: a picture has its own tag, or there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from streams import encode, encode_color, number_of, Packet

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.image_io.limits import FrameLimit
from uhr_seg_ros.image_io.nal_units import units
from uhr_seg_ros.image_io.video_decoder import check_decoder, Picture, VideoDecoder

CODECS = ('h264', 'hevc')
REORDERED = {'bf': '2'}


def decode(decoder: VideoDecoder, packets: Iterable[Packet]) -> list[Picture]:
    """Decode what can be decoded; the tag of a packet is the number of the picture in it."""
    pictures = []
    for packet in packets:
        try:
            pictures += decoder.decode(packet.data, packet.number)
        except ImageError:
            continue
    return pictures + decoder.finish()


def numbers(pictures: Sequence[Picture]) -> list[int]:
    """Return the numbers of pictures, which show them; their tags must be the same."""
    found = [number_of(each.bgr) for each in pictures]
    assert found == [each.tag for each in pictures]
    return found


@pytest.mark.parametrize('codec', CODECS)
def test_live_each_packet_gives_its_picture_at_once(codec: str) -> None:
    decoder = VideoDecoder(codec)
    for packet in encode(codec, 20):
        (each,) = decoder.decode(packet.data, packet.number)
        assert (each.height, each.width) == each.bgr.shape[:2] == (64, 256)
        assert numbers([each]) == [packet.number]
    assert (decoder.counts.packets, decoder.counts.pictures, decoder.reason) == (20, 20, '')
    assert decoder.finish() == []


@pytest.mark.parametrize('codec', CODECS)
def test_b_frames_come_in_the_order_of_display_with_their_own_tags(codec: str) -> None:
    packets = encode(codec, 30, options=REORDERED)
    assert [each.number for each in packets] != sorted(each.number for each in packets)
    decoder = VideoDecoder(codec)
    assert numbers(decode(decoder, packets)) == list(range(30))
    assert decoder.counts.lost == decoder.counts.waiting == decoder.counts.corrupt == 0


@pytest.mark.parametrize('options', [{}, REORDERED], ids=['in order', 'B-frames'])
@pytest.mark.parametrize('codec', CODECS)
def test_after_a_loss_nothing_is_made_up(codec: str, options: dict[str, str]) -> None:
    packets = encode(codec, 20, options=options)
    whole = {each.tag: each.bgr for each in decode(VideoDecoder(codec), packets)}
    for gone in (1, 2, 3, 8, 9, 15):
        decoder = VideoDecoder(codec)
        pictures = decode(decoder, [*packets[:gone], *packets[gone + 1 :]])
        found = numbers(pictures)
        assert all((each.bgr == whole[each.tag]).all() for each in pictures), gone
        following = 8 * (packets[gone].number // 8 + 1)
        assert {each.number for each in packets[:gone]} <= set(found)
        assert set(range(following, 20)) - {packets[gone].number} <= set(found)
        if not options:
            assert found == [*range(gone), *range(following, 20)]
            assert decoder.counts.lost == (gone != 15)
            assert decoder.counts.waiting == following - gone - 1


def test_what_nobody_refers_to_may_be_lost_or_left_out() -> None:
    packets = encode('h264', 20, options={'bf': '2', 'params': 'b-pyramid=none'})
    decoder = VideoDecoder('h264')
    pictures = []
    for packet in packets:
        pictures += decoder.decode(packet.data, packet.number, is_wanted=packet.number % 3 == 0)
    found = numbers(pictures + decoder.finish())
    skipped = decoder.counts.skipped
    assert skipped > 5 and len(found) == 20 - skipped
    assert decoder.counts.lost == decoder.counts.waiting == 0
    assert {0, 3, 6, 8, 9, 12, 15, 16, 18} <= set(found)


@pytest.mark.parametrize('codec', CODECS)
def test_who_joins_late_waits_for_a_key(codec: str) -> None:
    decoder = VideoDecoder(codec)
    packets = encode(codec, 24)
    assert decoder.decode(packets[3].data, 3) == []
    assert decoder.reason == 'no key picture has come yet' or 'parameter sets' in decoder.reason
    assert numbers(decode(decoder, packets[4:])) == list(range(8, 24))
    assert (decoder.counts.waiting, decoder.counts.lost) == (5, 0)


@pytest.mark.parametrize('codec', CODECS)
def test_parameter_sets_only_at_the_start(codec: str) -> None:
    """Cameras that send them once; who comes later is told what to set."""
    sets, packets = without_sets(codec, encode(codec, 24))
    decoder = VideoDecoder(codec)
    assert decoder.decode(sets, 'sets') == []
    kept = [each for each in packets if each.number not in (3, 11)]
    assert numbers(decode(decoder, kept)) == [*range(3), *range(8, 11), *range(16, 24)]
    late = VideoDecoder(codec)
    assert not any(late.decode(each.data, each.number) for each in packets[5:])
    assert late.counts.waiting == 19 and 'let the encoder repeat them' in late.reason


def without_sets(codec: str, packets: Sequence[Packet]) -> tuple[bytes, list[Packet]]:
    """Take the parameter sets out of packets; return them, and what is left."""
    kinds = (7, 8) if codec == 'h264' else (32, 33, 34)
    sets, left = b'', []
    for packet in packets:
        data = b''
        for begin, end in units(packet.data):
            kind = packet.data[begin] & 31 if codec == 'h264' else packet.data[begin] >> 1 & 63
            unit = b'\0\0\1' + packet.data[begin:end]
            if kind not in kinds:
                data += unit
            elif unit not in sets:
                sets += unit
        left.append(packet._replace(data=data))
    return sets, left


@pytest.mark.parametrize('codec', CODECS)
def test_the_limit_is_of_the_size_that_is_shown(codec: str) -> None:
    """Streams are coded in blocks of 16 px."""
    packets = encode(codec, 2, size=(50, 258))
    assert numbers(decode(VideoDecoder(codec, FrameLimit(max_pixels=50 * 258)), packets)) == [0, 1]
    with pytest.raises(ImageError, match='stream is 258 x 50 px'):
        VideoDecoder(codec, FrameLimit(max_pixels=50 * 258 - 1)).decode(packets[0].data, 0)


@pytest.mark.parametrize('codec', CODECS)
def test_the_size_may_change(codec: str) -> None:
    larger = encode(codec, 6, size=(96, 320), first=10)
    packets = [*encode(codec, 10), *larger, *encode(codec, 4, first=16)]
    decoder = VideoDecoder(codec, FrameLimit(max_pixels=96 * 320))
    pictures = decode(decoder, packets)
    assert numbers(pictures) == list(range(20))
    assert [each.bgr.shape for each in pictures[9:17:6]] == [(64, 256, 3), (96, 320, 3)]
    strict = VideoDecoder(codec, FrameLimit(max_pixels=64 * 256))
    assert numbers(decode(strict, packets)) == [*range(10), *range(16, 20)]
    assert strict.counts.corrupt == 6
    with pytest.raises(ImageError, match=r'stream is 320 x 96 px.* max_pixels to 30720'):
        strict.decode(larger[0].data, 0)


def test_packets_that_are_cut_short_are_counted_and_show_nothing() -> None:
    """FFmpeg tells it of H.264 alone."""
    packets = encode('h264', 16, size=(96, 256), options={'params': 'crf=18'})
    whole = {each.tag: each.bgr for each in decode(VideoDecoder('h264'), packets)}
    for at, share in ((0, 0.5), (1, 0.3), (2, 0.7), (5, 0.5), (9, 0.6), (10, 0.01)):
        data = packets[at].data[: int(len(packets[at].data) * share) + 4]
        decoder = VideoDecoder('h264')
        cut = [*packets[:at], packets[at]._replace(data=data), *packets[at + 1 :]]
        pictures = decode(decoder, cut)
        assert all((each.bgr == whole[each.tag]).all() for each in pictures), at
        assert numbers(pictures) == [*range(at), *range(at // 8 * 8 + 8, 16)]
        assert decoder.counts.corrupt + decoder.counts.lost == 1


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        (b'', 'begins with nothing'),
        (b'\0\0\0\x07\x67\x42\0\x0a', 'begins with 00 00 00 07 .*Annex B'),
        (b'\xff\xd8\xff\xe0JFIF', 'begins with ff d8 ff e0'),
        (b'\0\0\1\x67\x64', 'a unit ends within its header'),
        (b'\0\0\1\x67\x64' + bytes(40), 'too long'),
    ],
)
def test_what_is_no_packet(data: bytes, reason: str) -> None:
    decoder = VideoDecoder('h264')
    with pytest.raises(ImageError, match=rf'H.264 packet \({len(data)} bytes\).*{reason}'):
        decoder.decode(data, 0)
    assert numbers(decode(decoder, encode('h264', 3))) == [0, 1, 2]


@pytest.mark.parametrize('codec', CODECS)
def test_several_pictures_in_a_packet_have_no_stamp(codec: str) -> None:
    first, second, *_ = encode(codec, 12)
    with pytest.raises(ImageError, match='several pictures'):
        VideoDecoder(codec).decode(first.data + second.data, 0)


def test_the_colors_are_those_that_the_stream_says() -> None:
    green = np.full((64, 256, 3), (30, 200, 60), np.uint8)
    for matrix, expected in (('bt709', (31, 200, 60)), ('smpte170m', (30, 200, 60))):
        (packet,) = encode_color('h264', green, matrix)
        (picture,) = VideoDecoder('h264').decode(packet, 0)
        assert np.abs(picture.bgr.mean((0, 1)) - expected).max() < 4, matrix


@settings(max_examples=20, deadline=None)
@given(data=st.binary(max_size=200), codec=st.sampled_from(CODECS), at=st.integers(0, 60))
def test_any_bytes_are_refused_or_wait(data: bytes, codec: str, at: int) -> None:
    packets = encode(codec, 2)
    for content in (data, b'\0\0\1' + data, packets[0].data[:at] + data):
        decoder = VideoDecoder(codec, FrameLimit(max_pixels=1 << 20))
        try:
            decoder.decode(content, 0)
        except ImageError:
            pass
        assert numbers(decode(decoder, packets))[-1:] in ([0], [1])


@pytest.mark.skipif(Path('/dev/nvidiactl').exists(), reason='there is an NVIDIA GPU')
def test_without_a_gpu_its_decoder_is_refused() -> None:
    with pytest.raises(ImageError, match=r'H.264 cannot be decoded on cuda.*set decoder to cpu'):
        check_decoder('cuda')
    check_decoder('cpu')
