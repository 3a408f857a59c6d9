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
Feed the image codec what reaches new branches of it (coverage-guided, libFuzzer).

    pip install atheris
    .venv/bin/python scripts/fuzz_codec -max_total_time=600

A frame is either decoded into the size that it claims, or refused with an ImageError; anything
else stops the run and leaves the input in a file.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(
    include=['uhr_seg_ros.ros.messages', 'uhr_seg_ros.core.raw_frame']
):
    from uhr_seg_ros.core.errors import ImageError
    from uhr_seg_ros.ros.messages.compressed import decode_compressed
    from uhr_seg_ros.ros.messages.images import _PACKED, _PLANAR, view_image

FORMATS = ['jpeg', 'png', '', 'bayer_rggb8; jpeg', '16UC1; compressedDepth']
ENCODINGS = [*_PACKED, *_PLANAR, '32FC1', '']


def fuzz(data: bytes) -> None:
    """Make one message of some bytes, and decode it."""
    source = atheris.FuzzedDataProvider(data)
    if source.ConsumeBool():
        _fuzz_raw(source)
    else:
        _fuzz_compressed(source)


def _fuzz_raw(source: atheris.FuzzedDataProvider) -> None:
    message = SimpleNamespace(
        encoding=source.PickValueInList(ENCODINGS)
        if source.ConsumeProbability() < 0.95
        else source.ConsumeUnicode(12),
        height=source.ConsumeIntInRange(0, 48),
        width=source.ConsumeIntInRange(0, 48),
        step=source.ConsumeIntInRange(0, 400),
        is_bigendian=source.ConsumeIntInRange(0, 255),
    )
    if source.ConsumeProbability() < 0.05:
        message.height = source.ConsumeInt(4) & 0xFFFFFFFF
    missing = source.ConsumeIntInRange(0, 3)
    # Frames with enough data are as likely as others: bytes of the fuzzer, then zeros.
    size = max(0, min(message.step * 3 * min(message.height, 48) - missing, 20000))
    if source.ConsumeBool():
        size = source.ConsumeIntInRange(0, size)
    message.data = source.ConsumeBytes(size).ljust(size, b'\0')
    try:
        image = view_image(message).bgr
    except ImageError:
        return
    assert image.shape == (message.height, message.width, 3), image.shape


def _fuzz_compressed(source: atheris.FuzzedDataProvider) -> None:
    form = source.PickValueInList(FORMATS)
    message = SimpleNamespace(format=form, data=source.ConsumeBytes(source.remaining_bytes()))
    try:
        image = decode_compressed(message)
    except ImageError:
        return
    assert image.ndim == 3 and image.shape[2] == 3, image.shape


def main() -> None:
    """Fuzz until something is found, or the time is over."""
    atheris.Setup(sys.argv, fuzz)
    atheris.Fuzz()


if __name__ == '__main__':
    main()
