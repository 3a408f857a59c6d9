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

"""Frames that are larger than they may be: told by their header, and what an outlier leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import struct
import zlib

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from stage import example_mask, frame, pixels, Stage, wait_until
from test_node_cloud import calibration, header, Rig
from tiny_bundle import paint, TINY_CLASSES

from uhr_seg_ros.core.errors import ImageError
from uhr_seg_ros.core.memory import trim_heap
from uhr_seg_ros.image_io.limits import DEFAULT_FRAME_PIXELS, FrameLimit
from uhr_seg_ros.ros import frame_processor
from uhr_seg_ros.ros.messages.compressed import decode_compressed
from uhr_seg_ros.ros.messages.depth import read_depth
from uhr_seg_ros.ros.messages.images import view_image

MakeStage = Callable[..., Stage]

SMALL = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
FORMS = {
    'JPEG': ('.jpg', []),
    'progressive JPEG': ('.jpg', [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    'PNG': ('.png', []),
    'TIFF': ('.tif', []),
    'BMP': ('.bmp', []),
    'WebP': ('.webp', [cv2.IMWRITE_WEBP_QUALITY, 80]),
    'lossless WebP': ('.webp', [cv2.IMWRITE_WEBP_QUALITY, 101]),
}


def compressed(suffix: str = '.png', flags: list[int] | None = None) -> CompressedImage:
    return CompressedImage(data=cv2.imencode(suffix, SMALL, flags or [])[1].tobytes())


@pytest.mark.parametrize('form', FORMS)
def test_every_format_has_the_limit(form: str) -> None:
    message = compressed(*FORMS[form])
    assert decode_compressed(message, limit=FrameLimit(64 * 96)).shape == (64, 96, 3)
    name = form.rpartition(' ')[2]
    text = f'{name} is 96 x 64 px: at most 6143 pixels are accepted; .* set max_pixels to 6144'
    with pytest.raises(ImageError, match=text):
        decode_compressed(message, limit=FrameLimit(64 * 96 - 1))


def test_a_header_is_enough() -> None:
    """What comes behind it is damaged here, and would be told if it were looked at."""
    for data, name in {
        b'\x89PNG\r\n\x1a\n' + struct.pack('>I4sII', 13, b'IHDR', 30000, 20000): 'PNG',
        b'RIFF\x00\x01\x00\x00WEBPVP8X'
        + struct.pack('<I', 10)
        + b'\0\0\0\0'
        + (29999).to_bytes(3, 'little')
        + (19999).to_bytes(3, 'little'): 'WebP',
        b'BM' + bytes(8) + struct.pack('<IIii', 54, 40, 30000, 20000): 'BMP',
        b'\xff\xd8\xff\xc2\x00\x11\x08'
        + struct.pack('>HHB', 20000, 30000, 3)
        + b'\1\x11\0\2\x11\0\3\x11\0': 'JPEG',
    }.items():
        with pytest.raises(ImageError, match=f'{name} is 30000 x 20000 px: at most'):
            decode_compressed(CompressedImage(data=data))


def test_twice_8k_and_no_more() -> None:
    limit = FrameLimit(DEFAULT_FRAME_PIXELS)
    limit.check('image', 2 * 4320, 7680)
    for size in ((8191, 8191), (16383, 16383), (2**32 - 1, 2**32 - 1)):
        with pytest.raises(Exception, match='at most 66355200 pixels are accepted'):
            limit.check('image', *size)


def test_a_lossy_webp_of_too_few_bytes() -> None:
    flat = np.zeros((1024, 1024, 3), np.uint8)
    data = cv2.imencode('.webp', flat, [cv2.IMWRITE_WEBP_QUALITY, 1])[1].tobytes()
    decode_compressed(CompressedImage(data=data))  # the smallest there is
    forged = bytearray(data)
    forged[26:30] = struct.pack('<HH', 8000, 8000)
    with pytest.raises(ImageError, match='8000 x 8000 px, which takes at least 93750 bytes'):
        decode_compressed(CompressedImage(data=bytes(forged)))


def tiled_tiff(width: int, side: int, bands: int = 1) -> bytes:
    """Return a black TIFF of one square tile, of which the picture is a part."""
    data = zlib.compress(bytes(side * side * bands), 9)
    tags = {
        256: width,
        257: width,
        258: 8,
        259: 8,
        262: 1,
        277: bands,
        322: side,
        323: side,
        324: 134,
        325: len(data),
    }
    entries = [struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags.items()]
    return b'II*\0' + struct.pack('<IH', 8, len(tags)) + b''.join(entries) + bytes(4) + data


def test_a_small_picture_in_a_giant_tile() -> None:
    message = CompressedImage(data=tiled_tiff(64, 2048))
    assert len(message.data) < 5000
    assert decode_compressed(message, limit=FrameLimit(2048 * 2048)).shape == (64, 64, 3)
    with pytest.raises(ImageError, match='tile of a TIFF is 2048 x 2048 px: at most 4194303'):
        decode_compressed(message, limit=FrameLimit(2048 * 2048 - 1))
    with pytest.raises(ImageError, match='TIFF has 60 bands, at most 8 are read'):
        decode_compressed(CompressedImage(data=tiled_tiff(64, 64, 60)))


def flat_png(side: int) -> bytes:
    """Return a PNG of one bit per pixel, the smallest file for its size."""
    rows = zlib.compress(bytes((1 + side // 8) * side), 9)
    chunks = [
        (b'IHDR', struct.pack('>IIBBBBB', side, side, 1, 0, 0, 0, 0)),
        (b'IDAT', rows),
        (b'IEND', b''),
    ]
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))
        for name, body in chunks
    )


def test_the_memory_of_a_frame_is_told_before_it_is_taken() -> None:
    message = CompressedImage(data=flat_png(1024))
    assert len(message.data) < 1000
    limit = FrameLimit(memory_limit_mb=20, bytes_per_pixel=16.0)
    assert decode_compressed(message, limit=limit).shape == (1024, 1024, 3)
    text = r'1024 x 1024 px: its buffers take 20 MB, memory_limit_mb is 19: set it to 20'
    with pytest.raises(ImageError, match=text):
        decode_compressed(message, limit=FrameLimit(memory_limit_mb=19, bytes_per_pixel=16.0))


@pytest.mark.parametrize('encoding', ['bgr8', 'mono8', 'bayer_rggb8', 'nv12', 'unknown'])
def test_raw_images_and_depth(encoding: str) -> None:
    message = Image(height=64, width=96, encoding=encoding, step=288, data=bytes(288 * 64))
    limit = FrameLimit(64 * 96 - 1)
    for read in (view_image, read_depth):
        with pytest.raises(ImageError, match=f"image is 96 x 64 '{encoding}': at most"):
            read(message, limit=limit)


def test_the_node_follows_max_pixels(make_stage: MakeStage) -> None:
    mask = example_mask()
    stage = make_stage(max_pixels=mask.size - 1, input_size=[64, 64])
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    camera.publish(frame(paint(mask)))
    stage.wait_for_count(received=1, rejected=1)
    stage.wait_for_log('frame rejected', f'set max_pixels to {mask.size}')
    assert stage.set_parameter('max_pixels', mask.size).successful
    assert not stage.set_parameter('max_pixels', 0).successful
    camera.publish(frame(paint(mask)))
    wait_until(lambda: masks, 'a mask')
    np.testing.assert_array_equal(pixels(masks[0]), mask)


def test_an_input_size_of_which_no_frame_would_be_taken(make_stage: MakeStage) -> None:
    stage = make_stage(input_size=[16384, 8192])
    stage.wait_for_log('cannot be configured', 'input_size is 16384 x 8192 px', 'max_pixels')


def test_tiles_of_a_size_that_there_is_not(make_stage: MakeStage) -> None:
    stage = make_stage(tile_size=100)
    stage.wait_for_log('cannot be configured', 'a tile of 100 px is too small')


def test_the_node_tells_what_a_frame_needs(make_stage: MakeStage) -> None:
    stage = make_stage(memory_limit_mb=4)
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    camera.publish(frame(np.zeros((800, 800, 3), np.uint8)))
    stage.wait_for_count(received=1, rejected=1)
    stage.wait_for_log("rejected: image is 800 x 800 'bgr8': its buffers take", 'limit_mb is 4')
    camera.publish(frame(paint(example_mask())))
    wait_until(lambda: masks, 'a mask')
    stage.wait_for_count(received=2, processed=1, rejected=1)


@pytest.mark.parametrize('name', ['max_pixels', 'memory_limit_mb'])
def test_depth_images_have_the_limits_too(make_stage: MakeStage, name: str) -> None:
    side = 96 if name == 'max_pixels' else 300
    limits = {'memory_limit_mb': 4} if name == 'memory_limit_mb' else {}
    rig = Rig(make_stage, 'depth', **{'cloud.source': 'depth', **limits})
    rig.calibrate()
    rig.see(example_mask())
    if name == 'max_pixels':
        assert rig.stage.set_parameter(name, side * side - 1).successful
    else:
        info = calibration()
        info.height = info.width = side
        rig.calibrate(info)
        rig.see(example_mask())
    depth = np.ones((side, side), np.float32)
    message = Image(header=header('camera'), height=side, width=side, encoding='32FC1')
    message.step, message.data = side * 4, depth.tobytes()
    rig.lidar.publish(message)
    rig.wait_for(rejected=1)
    rig.stage.wait_for_log(f"image is {side} x {side} '32FC1': ", name)


def test_memory_is_given_back_behind_an_outlier(
    make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = []
    monkeypatch.setattr(frame_processor, 'trim_heap', lambda: times.append(trim_heap()))
    stage = make_stage()
    camera = stage.camera()
    (masks,) = stage.outputs('mask')

    def process(*sizes: tuple[int, int]) -> int:
        for size in sizes:
            count = len(masks) + 1
            camera.publish(frame(paint(example_mask(*size))))
            wait_until(lambda count=count: len(masks) == count, 'a mask')
        return len(times)

    usual, outlier = (96, 160), (480, 640)
    before = process(usual, usual, usual)
    assert process(outlier, usual) == before + 1
    assert process(usual, usual, usual) == before + 1
    giant = frame(np.zeros((3000, 3000, 3), np.uint8))
    giant.encoding = 'nobody knows'  # rejected, when its memory is taken
    camera.publish(giant)
    stage.wait_for_count(rejected=1)
    assert process(usual, usual) == before + 2


def test_memory_of_engines_is_given_back(tmp_path: Path) -> None:
    onnx = pytest.importorskip('onnx', reason='the bundle is made with onnx')
    from uhr_seg_ros.export.bundle_writing import write_bundle
    from uhr_seg_ros.pipelines.pipeline import TilingOptions
    from uhr_seg_ros.pipelines.segmenter import Segmenter

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shapes = {'many': (32, 3, 1, 1), 'few': (3, 32, 1, 1)}
    nodes = [
        helper.make_node('Conv', ['image', 'many'], ['middle']),
        helper.make_node('Conv', ['middle', 'few'], ['whole']),
        helper.make_node('MaxPool', ['whole'], ['logits'], kernel_shape=[8, 8], strides=[8, 8]),
    ]
    weights = [
        onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in shapes.items()
    ]
    tensors = (('image', [1, 3, 'h', 'w']), ('logits', [1, 3, 'a', 'b']))
    inputs, outputs = (
        [helper.make_tensor_value_info(name, kind, shape)] for name, shape in tensors
    )
    graph = helper.make_graph(nodes, 'g', inputs, outputs, weights)
    opset = helper.make_opsetid('', 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.save(model, tmp_path / 'network.onnx')
    write_bundle(
        tmp_path, name='one', network='one', kind='single', classes=TINY_CLASSES, low_res_factor=1
    )
    taken = 32 * 4 * 512 * 512  # 34 MB a tile
    with Segmenter(tmp_path, 'onnxruntime', TilingOptions(tile=512)) as segmenter:

        def resident_after(side: int) -> int:
            segmenter(np.zeros((side, side, 3), np.uint8))
            assert trim_heap()
            return int(Path('/proc/self/statm').read_text().split()[1]) * 4096

        usual = [resident_after(64) for _ in range(3)][-1]
        segmenter.keep_memory(False)
        assert resident_after(960) < usual + taken / 2  # all of its tiles
        segmenter.keep_memory(True)
        assert resident_after(960) > usual + taken / 2
        segmenter.keep_memory(False)
        assert resident_after(64) < usual + taken / 2
