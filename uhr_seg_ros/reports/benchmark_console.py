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

"""The figures of benchmarks on the console: a table for each kind of measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from uhr_seg_ros.reports.benchmark_advice import drop_advice, trust_warning

PERCENTILES = ('p50', 'p95', 'p99', 'max')
SPREAD = ('mean', 'p50', 'p90', 'p95', 'p99', 'max')

LATENCY_CAPTION = (
    'rows: stages of the segmenter; wait: of a frame for its turn; latency: from the frame in the '
    'node to its published mask; stamp to mask: since the camera stamped the frame; published to '
    'mask: since the frame was sent, until who subscribes has the mask'
)
STAGES_CAPTION = (
    'rows: stages of the segmenter, total: their sum for a frame; low and high: the interval '
    'around the median'
)
FRAMES_CAPTION = (
    'dropped: a newer frame took the place of one that waited; rejected: malformed; lost: in DDS, '
    'before or after the node'
)

_NODE_PARTS = {
    'receive_ms': 'node: receive',
    'node_ms': 'node: convert, publish, wait',
    'outside_ms': 'outside: camera sends, mask travels',
}


def format_size(size: Sequence[int]) -> str:
    """Turn (height, width) into `<width>x<height>`."""
    return f'{size[1]}x{size[0]}'


def print_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, is_text: bool = False
) -> None:
    """Print a title and a table; the first column is text, the others are numbers, or text too."""
    table = Table()
    for index, name in enumerate(header):
        table.add_column(name, justify='left' if is_text or not index else 'right')
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(title)
    console.print(table)


def print_percentiles(title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table of ms: one row per name, one column per percentile that a row has."""
    _print_ms(
        title, [key for key in PERCENTILES if any(key in row for row in rows.values())], rows
    )


def print_stages(result: Mapping[str, Any]) -> None:
    """Print what `benchmark.stages.measure` returns."""
    title = (
        f'{format_size(result["size"])}: peak memory {result["peak_mb"]} MB, first frame '
        f'{result["first_ms"]:.0f} ms'
    )
    if result['detail_share'] < 1.0:
        title += f', {result["detail_share"]:.0%} of it in detail'
    if result['interval']['processes'] > 1:
        title += f'; median and interval of {_interval(result["interval"])}'
    _print_ms(title, ('min', 'median', 'low', 'high', 'max'), result['stage_ms'])
    print(STAGES_CAPTION)


def print_node(result: Mapping[str, Any], stages: Mapping[str, float]) -> None:
    """
    Print what `benchmark.node_cost.measure_node` returns.

    Args:
        result: of the measurement.
        stages: those of the segmenter -> median, ms.

    """
    title = (
        f'Node at {format_size(result["size"])}, '
        f'{result["frames_processed"]} of {result["frames_played"]} frames'
    )
    rows = [
        ['segmenter', f'{result["segmenter_ms"]:.1f}'],
        *([f'  {stage}', f'{milliseconds:.1f}'] for stage, milliseconds in stages.items()),
        *([text, f'{result[key]:.1f}'] for key, text in _NODE_PARTS.items()),
    ]
    print_table(title, ['', 'median ms'], rows)
    print(
        'receive: out of DDS; outside: from the camera to DDS, and from the mask to who takes it'
    )


def print_transport(size: Sequence[int], results: Sequence[Mapping[str, Any]]) -> None:
    """Print what `benchmark.transport.measure_transport` returns for each setting."""
    rows = [
        [
            result['setting']['name'],
            f'{result["received"]} of {result["sent"]}',
            *(f'{value:.1f}' for value in result['latency_ms'].values()),
        ]
        for result in results
    ]
    header = ['', 'received', *(f'{name} ms' for name in PERCENTILES)]
    print_table(f'{format_size(size)} bgr8 from one process to another', header, rows)
    print('rows: profiles of the middleware; ms: from the publication to who subscribes')


def print_cloud(result: Mapping[str, Any]) -> None:
    """Print what `benchmark.cloud_stages.measure_cloud` returns."""
    title = (
        f'{result["points"]} points, {result["in_image"]:.0%} of them inside '
        f'{format_size(result["size"])} and {result["labelled"]:.0%} labeled, on one core'
    )
    keys = ('p50', 'p95')
    rows = [
        [
            stage,
            *(
                f'{result[kind][stage][key]:.1f}'
                for kind in ('stage_ms', 'processor_ms')
                for key in keys
            ),
        ]
        for stage in result['stage_ms']
    ]
    header = [f'{key} ms' for key in keys] + [f'processor {key} ms' for key in keys]
    print_table(title, ['', *header], rows)
    print(
        'rows: read: message to coordinates; label: project, hide, look up; encode: message with '
        'labels; processor: without what the core did for others'
    )


def print_graphs(report: Mapping[str, Any], devices: Mapping[str, str]) -> None:
    """
    Print what `benchmark.graph_traffic.measure_traffic` returns.

    Args:
        report: of the measurement.
        devices: those that a time on paper is printed for -> their names.

    """
    header = ['', 'kernels', 'read MB', 'written MB', 'GMAC']
    keys = ('kernels', 'read_mb', 'written_mb', 'gmac')
    graphs: Mapping[str, Any] = report['graphs']
    for name, graph in graphs.items():
        rows = [
            [operator, *(f'{sums[key]:,}' for key in keys)]
            for operator, sums in graph['operators'].items()
        ]
        print_table(f'Graph {name}', header, rows)
    rows = [
        [
            name,
            f'{sum(each["kernels"] for each in part)}',
            f'{sum(each["read_mb"] + each["written_mb"] for each in part):,.0f}',
            f'{sum(each["gmac"] for each in part):.1f}',
        ]
        for name, part in (
            *((name, [graph]) for name, graph in graphs.items()),
            ('total', graphs.values()),
        )
    ]
    for device in devices:
        times = [graph['paper_ms'][device] for graph in graphs.values()]
        times.append([sum(time) for time in zip(*times, strict=True)])
        for row, (shortest, longest) in zip(rows, times, strict=True):
            row.append(f'{shortest:.2f} to {longest:.2f}')
    title = f'{report["bundle"]} at {format_size(report["size"])} in {report["precision"]}'
    header = ['', 'kernels', 'MB', 'GMAC', *(f'{name} ms' for name in devices.values())]
    print_table(title, header, rows)
    print(
        'rows: graphs of the bundle; MB: read and written; GMAC: 10^9 multiply-adds; ms: on '
        'paper, at 80 to 75 % of the peaks of the device'
    )


def print_roofline(report: Mapping[str, Any]) -> None:
    """Print what `benchmark.roofline.measure_roofline` returns."""
    peaks = report['peaks']
    reached = ', '.join(f'{name} {value:.0f}' for name, value in peaks['gflops'].items())
    keys = ('gflop', 'mb', 'compute_ms', 'memory_ms', 'bound_ms', 'min_ms')
    rows = [
        [
            f'{graph["name"]} {graph["precision"]}',
            *(f'{graph[key]:,.1f}' for key in keys),
            f'{graph["min_ms"] / graph["bound_ms"]:.1f}',
        ]
        for graph in report['graphs']
    ]
    title = (
        f'{report["bundle"]} at {format_size(report["size"])}, {report["threads"]} threads; '
        f'peaks: {reached} G operations/s, copies {peaks["copy_gb_s"]:.1f} GB/s; times in ms'
    )
    header = ['', 'GFLOP', 'MB', 'compute', 'memory', 'bound', 'found', 'ratio']
    print_table(title, header, rows)
    print(
        'compute, memory: at one of the peaks alone; bound: the longer of both, kernel by kernel; '
        'found: the fastest run; ratio: found to bound'
    )


def print_against_torch(result: Mapping[str, Any]) -> None:
    """Print what `export.against_torch.compare_speed` returns."""
    rows = [
        [name, *(f'{value:.0f}' for value in (min(times), median(times), max(times)))]
        for name, times in (
            ('PyTorch eager', result['eager_ms']),
            ('exported', result['exported_ms']),
        )
    ]
    title = f'{result["network"]} at {result["size"]}: {result["ratio"]:.2f} times faster'
    if result['interval']['processes'] > 1:
        title += (
            f', {result["ratio_low"]:.2f} to {result["ratio_high"]:.2f} by '
            f'{_interval(result["interval"])}'
        )
    print_table(title, ['', 'min ms', 'median ms', 'max ms'], rows)
    print('rows: the network in PyTorch without a compiler; the graphs of its export')


def print_bag(report: Mapping[str, Any]) -> None:
    """Print the figures of what `benchmark.bag_benchmark.benchmark_bag` returns."""
    figures = report['figures']
    if 'peak_hz' in report:
        print(f'peak: {report["peak_hz"]:.2f} Hz')
    print_spreads(
        'Latency',
        {
            **figures['stage_ms'],
            'stamp to mask': figures['stamp_to_mask_ms'],
            'published to mask': figures['latency_ms'],
        },
    )
    print(LATENCY_CAPTION)
    frames = figures['frames']
    rows = [['frames', *(f'{value:.0f}' for value in frames.values())]]
    print_table('Frames', ['', *(name.replace('_', ' ') for name in frames)], rows)
    if 'dropped' in frames:
        print(FRAMES_CAPTION)
    print(f'sent {figures["sent_hz"]} Hz, masks {figures["throughput_hz"]} Hz')
    if figures['skipped']:
        print(f'messages that were skipped, as they are not whole: {figures["skipped"]:.0f}')
    for line in mask_notes(report):
        print(line)
    _print_load(figures['load'])
    if report['accuracy'] is not None:
        print_accuracy(report['accuracy'])
    for line in drop_advice(report):
        print(line)
    print_missing(report)
    if warning := trust_warning(report['machine'].get('idle_percent')):
        print(warning)


def mask_notes(report: Mapping[str, Any]) -> list[str]:
    """Say what masks of a node that is measured from the outside are, and which are odd."""
    node, odd = report['node'], report['figures'].get('odd_masks', {})
    frames = report['bag'].get('frame_size')
    lines = []
    for each in node.get('masks', []):
        other = frames is not None and list(each['size']) != list(frames)
        lines.append(
            f'masks: {each["encoding"]} {format_size(each["size"])}'
            f'{f" for frames of {format_size(frames)}" if other else ""}, '
            f'{each["count"]:.0f} of them'
        )
    if count := odd.get('unknown_stamp'):
        lines.append(f'masks with a stamp that no frame has, which count nowhere: {count:.0f}')
    if count := odd.get('repeated'):
        lines.append(f'masks beyond the first one of a frame, which count nowhere: {count:.0f}')
    return lines


def print_missing(report: Mapping[str, Any]) -> None:
    """Print which figures a node that is measured from the outside does not give, and why."""
    if missing := report['node'].get('missing'):
        rows = list(missing.items())
        print_table('Not known from the outside', ['', 'because'], rows, is_text=True)


def _print_load(load: Mapping[str, Any] | None) -> None:
    if load is not None:
        used = ', '.join(f'{name} {value:.0f} %' for name, value in load['cpu_percent'].items())
        print(f'processor, of one core: {used}; peak memory of the node {load["peak_mb"]:.0f} MB')


def print_accuracy(accuracy: Mapping[str, Any]) -> None:
    """Print what `benchmark.label_accuracy.label_accuracy` returns."""
    rows = [
        [name, '' if value is None else f'{value:.3f}']
        for name, value in {'mean': accuracy['mean_iou'], **accuracy['iou']}.items()
    ]
    title = f'Masks of {accuracy["frames"]} frames against the labels in the recording'
    print_table(title, ['', 'IoU'], rows)


def print_spreads(title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table of ms: one row per name, columns as `benchmark.figures.spread` has them."""
    _print_ms(title, SPREAD, rows)


def print_demo(report: Mapping[str, Any]) -> None:
    """Print what `benchmark.demo.run_demo` returns."""
    rows: dict[str, Any] = dict(report['stage_ms'])
    rows['frame published to mask received'] = report['latency_ms']
    print_percentiles('Latency', rows)
    print(LATENCY_CAPTION)
    names = ('played', 'received', 'processed', 'dropped', 'rejected')
    print_table(
        'Frames', ['', *names], [['frames', *(str(report[f'frames_{name}']) for name in names)]]
    )
    if report['messages_skipped']:
        print(f'messages that were skipped, as they are not whole: {report["messages_skipped"]}')
    if report['stamps_repeated']:
        print(
            f'warning: {report["stamps_repeated"]} of {report["frames_played"]} frames have a '
            'stamp that another has too: files are named after stamps, so those of the last '
            'frame stay, and latencies are not known'
        )
    if 'clouds' in report:
        _print_clouds(report['clouds'])


def _print_clouds(clouds: Mapping[str, Any]) -> None:
    names = ('played', 'paired', 'unpaired', 'rejected', 'saved')
    print_table(
        'Clouds', ['', *names], [['clouds', *(str(clouds[f'clouds_{name}']) for name in names)]]
    )
    if clouds['points']:
        shares = {**clouds['label_share'], 'no label': clouds['unlabelled_share']}
        rows = [[name, f'{share:.1%}'] for name, share in shares.items()]
        print_table(f'{clouds["points"]} points', ['', 'share'], rows)
    if clouds['like_mask_share'] is not None:
        print(
            f'{clouds["like_mask_share"]:.2%} of the labels are those of the masks where the '
            'points were cast from'
        )


def _print_ms(title: str, keys: Sequence[str], rows: Mapping[str, Mapping[str, float]]) -> None:
    lines = [[name, *(_cell(row.get(key)) for key in keys)] for name, row in rows.items()]
    print_table(title, ['', *(f'{key} ms' for key in keys)], lines)


def _interval(interval: Mapping[str, Any]) -> str:
    return f'{interval["processes"]} processes, {interval["confidence"]:.1%} sure'


def _cell(value: float | None) -> str:
    return '' if value is None else f'{value:.1f}'
