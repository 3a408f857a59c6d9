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

"""The HTML report of an evaluation: one file that needs nothing else."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from typing import Any

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.evaluation.figures import notes, remark
from uhr_seg_ros.evaluation.gallery import Gallery, Snapshot
from uhr_seg_ros.reports.evaluation_charts import bars, class_cell, matrix
from uhr_seg_ros.reports.html import cards, page, panel, section, settings, share, table

_MEDIA = {'image': 'jpeg', 'label': 'png', 'mask': 'png', 'error': 'jpeg'}
_COLORS = (
    'Error: red where the mask has another class than the label, stripes where the label is '
    'ignored.'
)

#: What is a figure of its own in the JSON and not a setting of the run.
_SETTINGS = ('settings', 'provenance', 'versions', 'machine', 'seconds')


def build(report: Mapping[str, Any], classes: ClassSet, gallery: Gallery) -> str:
    """
    Write the page.

    Args:
        report: What the JSON file holds, see docs/evaluation.md.
        classes: Names and colors.
        gallery: The pictures.
    """
    title = f'{report["bundle"]} on {report["dataset"]} {report["split"]}'
    parts = [
        f'<h1>{escape(title)}</h1>',
        f'<p class="soft">{escape(_subtitle(report))}</p>',
        _cards(report),
        *(f'<p><b>{escape(note)}</b></p>' for note in notes(report)),
        section('Classes', _class_note(report), _charts(report, classes)),
        panel(_class_table(report, classes)),
        section('Small and large objects', _OBJECT_NOTE, panel(_object_table(report, classes))),
        section('Confusion matrix', _MATRIX_NOTE, panel(matrix(report['confusion'], classes))),
        _seams(report),
        section('Worst tiles', _worst_note(gallery), _snapshots(gallery.worst)),
        section('Images', _IMAGES_NOTE, panel(_image_table(report)) + _snapshots(gallery.images)),
        section('Settings', '', panel(_settings(report))),
    ]
    return page(title, '\n'.join(parts))


_OBJECT_NOTE = (
    'Share of the connected regions of the labels on at least half of which their class was '
    'found, by area in px; in brackets how many there are.'
)
_MATRIX_NOTE = 'Per cent of the pixels with the label of the row that were found as the column.'

_IMAGES_NOTE = f'An image in which fewer than two classes are labeled has no mean IoU. {_COLORS}'


def _subtitle(report: Mapping[str, Any]) -> str:
    settings = report['settings']
    how = f'{settings["branch"]} branch, mode {settings["mode"]}'
    if settings['mode'] == 'slide':
        how += f' with windows of {settings["window"]} px every {settings["stride"]} px'
    if settings['scale'] != 1:
        how += f' at scale {settings["scale"]:g}'
    if settings['tile']:
        how += f', tiles of {settings["tile"]} px'
    if settings['detail_share'] is not None:
        how += f', {settings["detail_share"]:.0%} of the tiles in detail'
    if settings['tta'] != 'none':
        how += f', test-time augmentation: {settings["tta"]}'
    count = len(report['images'])
    return f'{count} image{"" if count == 1 else "s"}, {how}, {report["backend"]}'


def _cards(report: Mapping[str, Any]) -> str:
    reported = report['reported']
    small, wide = report['object_recall']['below 16^2'], report['boundary_iou']['0.02']
    published, evaluated = reported['value'], report['mean_iou_evaluated']
    first = {
        f'{reported["figure"]}, as published': published,
        'mean IoU of the evaluated classes': evaluated,
    }
    if published == evaluated:
        weighted = report['frequency_weighted_iou']
        first = {'mean IoU': evaluated, 'frequency-weighted IoU': weighted}
    figures = {
        **first,
        'accuracy': report['accuracy'],
        'mean F1': report['mean_f1'],
        'boundary F, 2 px': report['boundary_f']['2 px']['mean'],
        'Boundary IoU, 0.02': wide['mean'],
        'mBA': report['mean_boundary_accuracy'],
        'recall of objects below 16² px': small['recall'],
    }
    return cards({name: share(value) for name, value in figures.items()})


def _class_note(report: Mapping[str, Any]) -> str:
    if not report['ignored']:
        return ''
    names = ', '.join(report['ignored'])
    return (
        f'Pixels labeled {names} are left out. Where other pixels are found as {names}, its IoU '
        'is 0 and enters the published mean.'
    )


def _charts(report: Mapping[str, Any], classes: ClassSet) -> str:
    charts = {
        'IoU': report['iou'],
        'boundary F at 2 px': report['boundary_f']['2 px']['classes'],
        'recall of objects below 16² px': report['object_recall']['below 16^2']['classes'],
    }
    inner = ''.join(bars(title, values, classes) for title, values in charts.items())
    return f'<div class="charts">{inner}</div><p></p>'


def _class_table(report: Mapping[str, Any], classes: ClassSet) -> str:
    columns: dict[str, tuple[Mapping[str, float | None], float | None]] = {
        'IoU': (report['iou'], report['mean_iou_evaluated']),
        'F1': (report['f1'], report['mean_f1']),
        'precision': (report['precision'], None),
        'recall': (report['recall'], None),
    }
    for ratio, value in report['boundary_iou'].items():
        columns[f'B. IoU {ratio}'] = (value['classes'], value['mean'])
    for radius, value in report['boundary_f'].items():
        columns[f'B. F {radius}'] = (value['classes'], value['mean'])
    rows = [
        [
            class_cell(classes, index) + remark(report, name),
            *(share(values[name]) for values, _ in columns.values()),
        ]
        for index, name in enumerate(classes.names)
    ]
    means = ['mean', *(share(mean) for _, mean in columns.values())]
    return table(['class', *columns], [*rows, means], last_is_mean=True)


def _object_table(report: Mapping[str, Any], classes: ClassSet) -> str:
    bins = report['object_recall']
    rows = [
        [
            class_cell(classes, index),
            *(
                _recall(size['classes'][name], size['objects_by_class'][name])
                for size in bins.values()
            ),
        ]
        for index, name in enumerate(classes.names)
    ]
    total = ['all', *(_recall(size['recall'], size['objects']) for size in bins.values())]
    header = ['class', *(name.replace('^2', '²') for name in bins)]
    return table(header, [*rows, total], last_is_mean=True)


def _recall(value: float | None, objects: int) -> str:
    return f'{share(value)} <span class="soft">({objects})</span>'


def _seams(report: Mapping[str, Any]) -> str:
    seams = report['seams']
    if seams is None:
        return ''
    rows = [
        [text, share(seams[f'{name}_near']), share(seams[f'{name}_elsewhere'])]
        for name, text in (('error', 'error rate'), ('disagreement', 'disagreement'))
    ]
    note = (
        f'Near: at most {seams["reach_px"]} px from where a window or a tile ends inside the '
        'image. Disagreement: windows that cover the same pixel and give several classes, or '
        'tiles against the image in one piece.'
    )
    return section('Seams', note, panel(table(['', 'near', 'elsewhere'], rows)))


def _worst_note(gallery: Gallery) -> str:
    return f'The {len(gallery.worst)} tiles with the most wrong pixels. {_COLORS}'


def _snapshots(snapshots: list[Snapshot]) -> str:
    return ''.join(_snapshot(snapshot) for snapshot in snapshots)


def _snapshot(snapshot: Snapshot) -> str:
    top, left, height, width = snapshot.window
    corner = f' at x {left}, y {top}' if snapshot.is_part else ''
    wrong = 'nothing is labelled'
    if snapshot.known:
        wrong = f'{100 * snapshot.wrong / snapshot.known:.1f} % of the labeled pixels wrong'
    place = f'{width}x{height} px{corner}: {wrong}'
    figures = ''.join(
        f'<figure><img loading="lazy" alt="{name} of {escape(snapshot.name)}" '
        f'src="data:image/{_MEDIA[name]};base64,{b64encode(data).decode()}">'
        f'<figcaption>{name}</figcaption></figure>\n'
        for name, data in snapshot.files.items()
    )
    heading = f'<h4>{escape(snapshot.name)} <small>{place}</small></h4>'
    return f'{heading}<div class="views">{figures}</div>'


def _image_table(report: Mapping[str, Any]) -> str:
    rows = [
        [
            escape(image['name']),
            f'{image["size"][1]}x{image["size"][0]}',
            share(image['mean_iou']),
            share(image['accuracy']),
            share(image['mean_boundary_accuracy']),
        ]
        for image in report['per_image']
    ]
    return table(['image', 'size, px', 'mean IoU', 'accuracy', 'mBA'], rows)


def _settings(report: Mapping[str, Any]) -> str:
    lines = {'bundle': report['bundle'], 'data set': report['dataset'], 'split': report['split']}
    lines |= {name: report[name] for name in ('commit', 'rmw', 'date') if name in report}
    for group in _SETTINGS:
        lines |= {f'{group}: {name}': value for name, value in report.get(group, {}).items()}
    return settings(lines)
