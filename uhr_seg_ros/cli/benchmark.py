# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The command `uhr_seg benchmark`."""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from typing import Any

from uhr_seg_ros.backends.options import PRECISIONS
from uhr_seg_ros.benchmark.sizes import format_size, parse_count, parse_size
from uhr_seg_ros.benchmark.stages import measure, StageOptions
from uhr_seg_ros.cli import benchmark_bag
from uhr_seg_ros.core.atomic_io import check_writable
from uhr_seg_ros.core.bundle import DEFAULT_MEMORY_LIMIT_MB
from uhr_seg_ros.core.command_line import Mode, refuse_without_effect
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.reports.bag_compare import compare_files
from uhr_seg_ros.reports.benchmark_report import (
    machine,
    PERCENTILES,
    print_table,
    segmenter_stages,
    write_json,
)

DEFAULT_SIZES = ((1080, 1920), (2160, 3840))
DEFAULT_POINTS = (130_000, 1_000_000)
REPEAT = 5
CLOUD_REPEAT = 100
NODE_RATE_HZ = 0.5
TRANSPORT_RATE_HZ = 5.0

_ENGINES = '--bundle --backend --precision --threads --memory-limit-mb'

#: What is measured, and the options that count then.
MODES = (
    Mode('--compare', '', lambda given: given.compare),
    Mode(
        '--bag --offline',
        f'{_ENGINES} --topic --prefix --json',
        lambda given: given.bag and given.offline,
    ),
    Mode(
        '--bag',
        f'{_ENGINES} --topic --rate --duration --report --json',
        lambda given: given.bag,
    ),
    Mode('--torch', '--size --repeat --json', lambda given: given.torch),
    Mode('--transport', '--size --repeat --rate --json', lambda given: given.transport),
    Mode('--cloud', '--size --repeat --points --json', lambda given: given.cloud),
    Mode('--node', f'{_ENGINES} --size --repeat --rate --json', lambda given: given.node),
    Mode('', f'{_ENGINES} --size --repeat --json'),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument('--bundle', default='hlrc_s_aerial', help='folder or name of a bundle')
    parser.add_argument(
        '--size',
        type=parse_size,
        action='append',
        dest='sizes',
        help='frame size, such as 7680x4320; may be repeated (default: 1920x1080 and 3840x2160)',
    )
    parser.add_argument(
        '--repeat',
        type=parse_count,
        help=f'frames per size (default: {REPEAT}), clouds of each count (default: '
        f'{CLOUD_REPEAT})',
    )
    parser.add_argument('--backend', default='auto', help='engine back end')
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='auto',
        help='of the engines (default: fp16 with TensorRT, what the bundle says on a CPU)',
    )
    parser.add_argument('--threads', type=int, default=0, help='of the engines; 0: one per core')
    parser.add_argument(
        '--memory-limit-mb',
        type=int,
        default=DEFAULT_MEMORY_LIMIT_MB,
        help='of the segmenter; 0: none',
    )
    parser.add_argument(
        '--node', action='store_true', help='measure the node too, over DDS, at the largest size'
    )
    parser.add_argument(
        '--rate',
        type=benchmark_bag.parse_bag_rate,
        help=f'frames per second; default: {NODE_RATE_HZ} with --node, {TRANSPORT_RATE_HZ} with '
        '--transport, as recorded with --bag, which also takes realtime, max (each frame when the '
        'one before was answered) and peak (search the highest rate)',
    )
    parser.add_argument(
        '--transport',
        action='store_true',
        help='instead: send frames of the largest size through DDS, with and without the profile',
    )
    parser.add_argument(
        '--torch',
        metavar='NETWORK',
        help='instead: time a network in PyTorch eager against its export, such as '
        'hlrc_cityscapes at 2048x1024',
    )
    parser.add_argument(
        '--cloud',
        action='store_true',
        help='instead: label generated point clouds by a mask of the largest size, on one core',
    )
    parser.add_argument(
        '--points',
        type=parse_count,
        nargs='+',
        metavar='N',
        help='with --cloud: points of a cloud (default: 130000 and 1000000)',
    )
    parser.add_argument('--json', type=Path, help='file for the figures')
    benchmark_bag.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; the exit code is 0."""
    if isinstance(arguments.rate, str) and not arguments.bag:
        msg = f'--rate {arguments.rate} has no effect without --bag: give Hz'
        raise ConfigError(msg)
    refuse_without_effect(arguments, MODES)
    if arguments.compare:
        compare_files(*arguments.compare)
        return 0
    check_writable(arguments.json, arguments.report)
    if arguments.bag:
        run_it = benchmark_bag.run_offline if arguments.offline else benchmark_bag.run_bag
        return run_it(arguments)
    arguments.repeat = arguments.repeat or (CLOUD_REPEAT if arguments.cloud else REPEAT)
    sizes = arguments.sizes or list(DEFAULT_SIZES)
    measure_all = _stages
    if arguments.torch:
        measure_all = _against_torch
    elif arguments.transport:
        measure_all = _transport
    elif arguments.cloud:
        measure_all = _clouds
    report = measure_all(arguments, sizes)
    if arguments.json:
        write_json(arguments.json, report)
    return 0


def _against_torch(arguments: argparse.Namespace, sizes: list[tuple[int, int]]) -> dict[str, Any]:
    # Only here: everything else runs without PyTorch.
    from uhr_seg_ros.export.against_torch import compare_speed

    results = [compare_speed(arguments.torch, *size, arguments.repeat) for size in sizes]
    for result in results:
        rows = [
            [name, *(f'{value:.0f}' for value in (min(times), median(times), max(times)))]
            for name, times in (
                ('PyTorch eager', result['eager_ms']),
                ('exported', result['exported_ms']),
            )
        ]
        title = f'{result["network"]} at {result["size"]}: {result["ratio"]:.2f} times faster'
        print_table(title, ['', 'min ms', 'median ms', 'max ms'], rows)
    return {'machine': machine(), 'against_torch': results}


def _transport(arguments: argparse.Namespace, sizes: list[tuple[int, int]]) -> dict[str, Any]:
    # Only here: everything else but --node runs without ROS.
    from uhr_seg_ros.benchmark.transport import measure_transport, SETTINGS

    largest = _largest(sizes)
    results = []
    for setting in SETTINGS:
        print(f'sending {arguments.repeat} frames: {setting.name}')
        rate = arguments.rate or TRANSPORT_RATE_HZ
        results.append(measure_transport(setting, largest, arguments.repeat, rate))
    rows = [
        [
            result['setting']['name'],
            f'{result["received"]} of {result["sent"]}',
            *(f'{value:.1f}' for value in result['latency_ms'].values()),
        ]
        for result in results
    ]
    header = ['', 'received', *(f'{name} ms' for name in PERCENTILES)]
    print_table(f'{format_size(largest)} bgr8 from one process to another', header, rows)
    return {'machine': machine(), 'size': list(largest), 'transport': results}


def _clouds(arguments: argparse.Namespace, sizes: list[tuple[int, int]]) -> dict[str, Any]:
    # Only here: it makes messages, which need ROS.
    from uhr_seg_ros.benchmark.cloud_stages import CloudOptions, measure_cloud

    largest = _largest(sizes)
    results = []
    for points in arguments.points or DEFAULT_POINTS:
        result = measure_cloud(CloudOptions(points, largest, arguments.repeat))
        _print_cloud(result)
        results.append(result)
    return {'machine': machine(), 'repeat': arguments.repeat, 'clouds': results}


def _print_cloud(result: dict[str, Any]) -> None:
    title = (
        f'{result["points"]} points, {result["in_image"]:.0%} of them inside '
        f'{format_size(tuple(result["size"]))} and {result["labelled"]:.0%} labelled, on one core'
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


def _largest(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    return max(sizes, key=lambda size: size[0] * size[1])


def _stages(arguments: argparse.Namespace, sizes: list[tuple[int, int]]) -> dict[str, Any]:
    report: dict[str, Any] = {'bundle': arguments.bundle, 'machine': machine(), 'sizes': []}
    with note_progress(lambda: f'{len(report["sizes"])} of {len(sizes)} sizes measured'):
        _measure_stages(arguments, sizes, report)
    if arguments.node:
        # Only here: the segmenter is measured without a ROS installation, too.
        from uhr_seg_ros.benchmark.node_cost import measure_node

        report['node'] = measure_node(
            arguments.bundle, _largest(sizes), arguments.repeat, arguments.rate or NODE_RATE_HZ
        )
        _print_node(report['node'])
    return report


def _measure_stages(
    arguments: argparse.Namespace, sizes: list[tuple[int, int]], report: dict[str, Any]
) -> None:
    for size in sizes:
        options = StageOptions(
            arguments.bundle,
            size,
            arguments.repeat,
            backend=arguments.backend,
            precision=arguments.precision,
            threads=arguments.threads,
            memory_limit_mb=arguments.memory_limit_mb,
        )
        result = measure(options)
        if reason := result['provenance']['fallback']:
            print(reason)
        report['sizes'].append(result)
        _print_stages(result)


def _print_stages(result: dict[str, Any]) -> None:
    size = format_size(tuple(result['size']))
    keys = ('min', 'median', 'max')
    rows = [
        [stage, *(f'{times[key]:.1f}' for key in keys)]
        for stage, times in result['stage_ms'].items()
    ]
    title = f'{size}: peak memory {result["peak_mb"]} MB, first frame {result["first_ms"]:.0f} ms'
    print_table(title, ['', *(f'{key} ms' for key in keys)], rows)


def _print_node(result: dict[str, Any]) -> None:
    names = {
        'receive_ms': 'node: receive',
        'node_ms': 'node: convert, publish, wait',
        'outside_ms': 'outside: camera sends, mask travels',
    }
    stages = segmenter_stages(result['stage_ms'])
    title = (
        f'Node at {format_size(tuple(result["size"]))}, '
        f'{result["frames_processed"]} of {result["frames_played"]} frames'
    )
    rows = [
        ['segmenter', f'{result["segmenter_ms"]:.1f}'],
        *([f'  {stage}', f'{milliseconds:.1f}'] for stage, milliseconds in stages.items()),
        *([text, f'{result[key]:.1f}'] for key, text in names.items()),
    ]
    print_table(title, ['', 'median ms'], rows)
