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

"""``uhr_seg prepare``: from a data set as it is published to the folder that trainings read."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.core.program import INCOMPLETE, OK
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.data.dataset import named
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.data.label_check import checked_images, Share, show_shares, warn
from uhr_seg_ros.data.preparing import missing_of, Preparation, prepare, write_splits
from uhr_seg_ros.data.published import PUBLISHED, PublishedSet
from uhr_seg_ros.data.sample import FileSample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('published', choices=PUBLISHED, metavar='NAME', help=', '.join(PUBLISHED))
    parser.add_argument(
        'sources',
        nargs='+',
        type=Path,
        metavar='SOURCE',
        help='archives as published (zip, tar), or folders with them or what they unpack to; '
        'nothing is changed in them',
    )
    parser.add_argument(
        'prepared',
        type=Path,
        metavar='ROOT',
        help='folder to make, for --root of train; what is there already stays',
    )


def run(args: argparse.Namespace) -> int:
    """Prepare, look at all of it and say what is missing."""
    published: PublishedSet = PUBLISHED[args.published]
    done = Preparation()
    with (
        lock_folder(args.prepared),
        note_progress(lambda: f'{done.summary}: {args.prepared} (the same command goes on)'),
    ):
        prepare(published, args.sources, args.prepared, done)
        missing = missing_of(published, args.prepared)
        if not missing and not done.faults:
            write_splits(published, args.prepared)
            _check(published, args.prepared)
    warn(list(done.faults.values()))
    for split, text in missing.items():
        warn([f'split {split}: {text}'])
    counts = ', '.join(f'{count} {split}' for split, count in published.counts.items())
    if missing or done.faults:
        print(f'{published.name} is not complete ({counts} are published): {done.summary}')
        print(f'expected: {published.expected}. The same command goes on')
        return INCOMPLETE
    print(f'{published.name}: {counts} images: {args.prepared} ({done.summary})')
    if published.left_out:
        print(f'left out: {published.left_out}')
    print(
        f'next: uhr_seg train --config config/train/{published.config} --root {args.prepared} '
        '--output run'
    )
    return OK


def _check(published: PublishedSet, root: Path) -> None:
    """
    Look at every value of the labels, as a training does, and at the sizes of the images.

    Raises:
        DataError: A label that was there before is none.
    """
    dataset = open_dataset(published.name, root)
    try:
        images, warnings = checked_images(dataset, tuple(published.counts))
    except DataError as err:
        msg = f'{err}\nRemove what is wrong; the same command makes it anew'
        raise DataError(msg) from err
    show_shares([Share.of(split, own) for split, own in images.items()], dataset.classes.names)
    warn([*warnings, *_odd_sizes(published, images)])


def _odd_sizes(published: PublishedSet, images: Mapping[str, Sequence[FileSample]]) -> list[str]:
    odd = [
        (image.name, image.size, expected)
        for own in images.values()
        for image in own
        if image.size != (expected := published.size_of(image.name))
    ]
    if not odd:
        return []
    height, width = odd[0][2]
    listed = named([f'{name} ({size[1]}x{size[0]})' for name, size, _ in odd])
    return [
        f'{len(odd)} images are not of {width}x{height} px, as published: {listed}. Figures '
        'of models that see them cannot be compared with published ones'
    ]
