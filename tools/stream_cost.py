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
What a frame costs that comes raw, as JPEG, as H.264 or as H.265: processor time, and bytes.

    python -m tools.stream_cost [--size 3840x2160] [--frames 24] [--json FILE]

A flight over a generated scene is encoded in every form. Then each frame is read in all of them,
one after the other, by the code that the node runs; printed are medians of the time of the
processor, on which what else the machine does has little influence, and their ratios to JPEG.
Streams are as a camera sends them: a key picture per second, one slice for a picture, no B-frames.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
import sys
import time
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np

from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.cli.arguments import parse_count, parse_size
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.memory import tune_malloc
from uhr_seg_ros.core.program import guarded
from uhr_seg_ros.image_io.video_decoder import H264, H265, TITLES, VideoDecoder
from uhr_seg_ros.ros.messages.compressed import decode_compressed
from uhr_seg_ros.ros.messages.images import view_image
from uhr_seg_ros.synthetic.flight import enlarged, fly, turned_size
from uhr_seg_ros.synthetic.scenes import generate_scene

RATE_HZ = 30
JPEG_QUALITY = 90
SCENE_SEED = 20

#: Codec -> encoder of PyAV, and its options.
ENCODERS = {
    H264: ('libx264', {'preset': 'superfast', 'tune': 'zerolatency', 'crf': '23'}),
    H265: ('libx265', {'preset': 'ultrafast', 'tune': 'zerolatency', 'crf': '26'}),
}


class Cost(NamedTuple):
    """What reading a frame takes, ms of a processor: decoding, to BGR; and its bytes."""

    decode_ms: float
    bgr_ms: float
    size: int


def encode(frames: Sequence[np.ndarray], codec: str) -> list[bytes]:
    """Encode frames (H, W, 3) uint8 BGR; return a packet for each."""
    import av

    encoder, options = ENCODERS[codec]
    context: Any = av.CodecContext.create(encoder, 'w')
    context.height, context.width = frames[0].shape[:2]
    context.pix_fmt, context.time_base = 'yuv420p', Fraction(1, RATE_HZ)
    params = f'keyint={RATE_HZ}:bframes=0:slices=1'
    quiet = {'x265-params': f'{params}:log-level=none'} if codec == H265 else {}
    context.options = {**options, **(quiet or {'x264-params': f'{params}:sliced-threads=0'})}
    packets = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format='bgr24')
        picture.pts = number
        packets += context.encode(picture)
    packets += context.encode(None)
    return [bytes(each) for each in packets]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what work returns, and the ms of a processor that it took, in all threads."""
    start = time.process_time()
    result = work()
    return result, 1e3 * (time.process_time() - start)


def measure(frames: Sequence[np.ndarray]) -> dict[str, list[Cost]]:
    """Read every frame in every form, in turn."""
    streams = {codec: (VideoDecoder(codec), encode(frames, codec)) for codec in ENCODERS}
    costs: dict[str, list[Cost]] = {
        'raw': [],
        'JPEG': [],
        **{TITLES[each]: [] for each in streams},
    }
    for number, frame in enumerate(frames):
        height, width = frame.shape[:2]
        raw: Any = SimpleNamespace(
            height=height,
            width=width,
            encoding='bgr8',
            is_bigendian=0,
            step=3 * width,
            data=frame.tobytes(),
        )
        viewed, decode_ms = timed(partial(view_image, raw))
        _, bgr_ms = timed(partial(getattr, viewed, 'bgr'))
        costs['raw'].append(Cost(decode_ms, bgr_ms, frame.nbytes))
        data = cv2.imencode('.jpg', frame, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        jpeg: Any = SimpleNamespace(format='bgr8; jpeg compressed bgr8', data=data)
        _, decode_ms = timed(partial(decode_compressed, jpeg))
        costs['JPEG'].append(Cost(decode_ms, 0.0, len(data)))
        for codec, (decoder, packets) in streams.items():
            packet = packets[number]
            pictures, decode_ms = timed(partial(decoder.decode, packet, number))
            (picture,) = pictures  # at once, and its own
            if picture.tag != number:
                msg = f'packet {number} gave picture {picture.tag}'
                raise ConfigError(msg)
            _, bgr_ms = timed(partial(getattr, picture, 'bgr'))
            costs[TITLES[codec]].append(Cost(decode_ms, bgr_ms, len(packet)))
    return costs


def summarized(costs: dict[str, list[Cost]]) -> dict[str, dict[str, float]]:
    """Return medians over the frames, the mean of their bytes, and ratios to JPEG."""
    found = {}
    for name, each in costs.items():
        total = median(cost.decode_ms + cost.bgr_ms for cost in each)
        found[name] = {
            'decode_ms': round(median(cost.decode_ms for cost in each), 3),
            'bgr_ms': round(median(cost.bgr_ms for cost in each), 3),
            'total_ms': round(total, 3),
            'kb': round(sum(cost.size for cost in each) / len(each) / 1e3, 1),
        }
    jpeg = found['JPEG']
    for figures in found.values():
        figures['time_to_jpeg'] = round(figures['total_ms'] / jpeg['total_ms'], 3)
        figures['bytes_to_jpeg'] = round(figures['kb'] / jpeg['kb'], 4)
    return found


def show(found: dict[str, dict[str, float]]) -> None:
    """Print a table."""
    print(
        f'{"":8}{"decode":>9}{"to BGR":>9}{"both, ms":>10}{"of JPEG":>9}{"kB":>10}{"of JPEG":>9}'
    )
    for name, each in found.items():
        print(
            f'{name:8}{each["decode_ms"]:9.1f}{each["bgr_ms"]:9.1f}{each["total_ms"]:10.1f}'
            f'{each["time_to_jpeg"]:9.2f}{each["kb"]:10.0f}{each["bytes_to_jpeg"]:9.3f}'
        )


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code is 0."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--size', type=parse_size, default=(2160, 3840), metavar='WxH')
    parser.add_argument('--frames', type=parse_count, default=24, metavar='N')
    parser.add_argument('--json', type=Path, metavar='FILE')
    options = parser.parse_args(words)
    height, width = turned_size(options.size)
    mosaic = enlarged(generate_scene(SCENE_SEED, height + 200, width + 300)[0], (height, width))
    frames = list(fly(mosaic, options.frames, options.size))
    found = summarized(measure(frames))
    show(found)
    if options.json:
        size = list(options.size)
        write_results(options.json, {'size': size, 'frames': len(frames), 'read': found})
    return 0


if __name__ == '__main__':
    tune_malloc()
    cv2.setNumThreads(1)
    sys.exit(guarded(main, 'tools.stream_cost'))
