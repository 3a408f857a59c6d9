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
What refining boundaries changes, by width of the band and by beta.

    python -m tools.refinement_study --root AERIAL [--bundle NAME]
        [--output FIGURES.json] [--picture PICTURE.jpg]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.core.atomic_io import check_writable
from uhr_seg_ros.core.classes import ClassSet, UNLABELED
from uhr_seg_ros.core.image_writing import check_format, write_image
from uhr_seg_ros.core.visualization import colorize
from uhr_seg_ros.data.datasets import open_dataset
from uhr_seg_ros.evaluation.block import Block
from uhr_seg_ros.evaluation.boundary_metrics import BoundaryF, disk
from uhr_seg_ros.evaluation.labels import IgnoreClasses
from uhr_seg_ros.evaluation.metrics import ConfusionMatrix, ratio
from uhr_seg_ros.evaluation.object_recall import ObjectRecall
from uhr_seg_ros.pipelines.refinement.refine import refine, Refinement
from uhr_seg_ros.pipelines.refinement.thinning import thinned_band
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.synthetic.scenes import generate_scene

RADII = (1, 2, 5)
PASSES = (1, 2, 3, 5)
BETAS = (130.0, 500.0, 2000.0)
#: Generated scenes: how many, and height and width, px.
SCENES, SCENE_SIZE = 2, (2160, 3840)
#: What an opening by a disk of this radius removes is thin, px.
THIN = 3


@dataclass(frozen=True)
class Sample:
    """
    An image with its labels and what was found without refining.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        labels: (H, W) uint8.
        masks: source, such as `fused`, -> (H, W) uint8.
    """

    image: np.ndarray
    labels: np.ndarray
    masks: dict[str, np.ndarray]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--bundle', default='hlrc_s_aerial')
    parser.add_argument('--root', type=Path, required=True, help='folder of the aerial set')
    parser.add_argument('--output', type=Path, help='JSON file')
    parser.add_argument('--picture', type=Path, help='where refining changes most, .jpg or .png')
    arguments = parser.parse_args()
    if arguments.picture:
        check_format(arguments.picture)
    check_writable(arguments.output, arguments.picture)
    found = {}
    with Segmenter(arguments.bundle, 'onnxruntime') as segmenter:
        images = {'real': real(arguments.root), 'generated': generated()}
        for kind, pairs in images.items():
            samples = [sampled(segmenter, *pair) for pair in pairs]
            found[kind] = study(samples)
            show(kind, found[kind])
            if kind == 'real' and arguments.picture:
                painted = panels(samples[0], segmenter.bundle.classes)
                write_image(arguments.picture, painted)
    if arguments.output:
        content = {'bundle': segmenter.bundle.name, **found}
        write_results(arguments.output, content)


def real(root: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return image and labels of the test mosaics."""
    dataset = open_dataset('aerial', root)
    for whole in dataset.images('test'):
        image = IgnoreClasses(whole, dataset.ignored)
        yield image.read_image(), image.read_labels((0, 0, *image.size))


def generated() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return image and labels of generated scenes, which no training has seen."""
    for seed in range(SCENES):
        yield generate_scene(90_000 + seed, *SCENE_SIZE)


def sampled(segmenter: Segmenter, image: np.ndarray, labels: np.ndarray) -> Sample:
    """Segment an image, by the semantic branch alone too where there is one."""
    masks = {'fused': segmenter(image).mask}
    if 'semantic' in segmenter.bundle.graphs:
        masks['semantic'] = segmenter.semantic_only(image)
    return Sample(image, labels, masks)


def study(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Measure every source as it is and with every choice of band and beta."""
    choices = [None, *(Refinement(*each) for each in product(PASSES, BETAS))]
    rows = []
    for source in samples[0].masks:
        for how in tqdm(choices, desc=source, leave=False):
            start = perf_counter()
            masks = [
                sample.masks[source]
                if how is None
                else refine(sample.masks[source], sample.image, how).mask
                for sample in samples
            ]
            pixels = sum(mask.size for mask in masks)
            row = {'source': source, 'passes': how and how.passes, 'beta': how and how.beta}
            row['ms_per_megapixel'] = round((perf_counter() - start) * 1e9 / pixels, 1)
            rows.append(row | measured(samples, masks))
    return rows


def measured(samples: Sequence[Sample], masks: Sequence[np.ndarray]) -> dict[str, Any]:
    """
    Return mean IoU, boundary F, recall of thin parts and of small objects, all in percent.

    None stands for what has no value, such as the recall where there are no thin parts.
    """
    classes = 1 + max(
        int(ids[ids != UNLABELED].max(initial=0))
        for ids in (*masks, *(sample.labels for sample in samples))
    )
    matrix, contours = ConfusionMatrix(classes), BoundaryF(classes, RADII)
    objects = ObjectRecall(classes)
    thin = np.zeros(2, np.int64)
    for sample, mask in zip(samples, masks, strict=True):
        thin += thin_parts(sample.labels, mask)
        block = Block.whole(sample.labels, mask)
        matrix.add(block.labels, block.mask)
        for metric in (contours, objects):
            metric.add(block)
            metric.end_image()
    small = ratio(objects.found[:2].sum(), objects.objects[:2].sum())
    return {
        'mean_iou': _percent(matrix.mean_iou()),
        **{
            f'boundary_f_{radius}px': _percent(value)
            for radius, value in zip(RADII, contours.mean_f(), strict=True)
        },
        'thin_recall': _percent(float(ratio(*thin))),
        'small_object_recall': _percent(float(small)),
    }


def thin_parts(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Count pixels of thin parts of the labels: those found, and all."""
    counts = np.zeros(2, np.int64)
    for each in np.unique(labels[labels != UNLABELED]):
        region = (labels == each).astype(np.uint8)
        thin = region > cv2.morphologyEx(region, cv2.MORPH_OPEN, disk(THIN))
        counts += [(mask[thin] == each).sum(), thin.sum()]
    return counts


def panels(sample: Sample, classes: ClassSet, side: int = 200, zoom: int = 2) -> np.ndarray:
    """
    Show the square in which refining changes most.

    Returns:
        (zoom side, 4 zoom side, 3) uint8 BGR: image, mask, seeds with the band in black, refined.
    """
    mask, how = sample.masks['fused'], Refinement()
    refined = refine(mask, sample.image, how).mask
    changes = cv2.boxFilter((mask != refined).astype(np.float32), -1, (side, side))
    inner = changes[side // 2 : -(side // 2), side // 2 : -(side // 2)]
    top, left = np.unravel_index(inner.argmax(), inner.shape)
    area = slice(top, top + side), slice(left, left + side)
    colors = colorize(mask, classes)
    seeds = np.where(thinned_band(mask, how.passes)[..., None], np.uint8(0), colors)
    parts = [sample.image, colors, seeds, colorize(refined, classes)]
    row = np.hstack([part[area] for part in parts])
    return cv2.resize(row, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST)


def show(kind: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print a table."""
    table = Table(*rows[0], title=f'{kind} images')
    for row in rows:
        table.add_row(*('-' if value is None else f'{value}' for value in row.values()))
    Console().print(table)


def _percent(value: float) -> float | None:
    return None if np.isnan(value) else round(100 * float(value), 2)


if __name__ == '__main__':
    main()
