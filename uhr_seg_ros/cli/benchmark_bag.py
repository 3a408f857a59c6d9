# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""`uhr_seg benchmark --bag`, `--offline` and `--compare`."""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.benchmark.figures import spread
from uhr_seg_ros.benchmark.sizes import parse_duration, parse_rate
from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.interruption import note_progress
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.reports.benchmark_report import machine, print_table, write_json

_COLUMNS = ('mean', 'p50', 'p90', 'p95', 'p99', 'max')


def parse_bag_rate(text: str) -> str | float:
    """Turn text into Hz, or leave `realtime`, `max` and `peak`."""
    return text if text in ('realtime', 'max', 'peak') else parse_rate(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that only recordings need."""
    group = parser.add_argument_group('recordings')
    group.add_argument('--bag', type=Path, help='instead: play this recording to the node')
    group.add_argument(
        '--topic', default='', help='image topic in it; default: the only likely one'
    )
    group.add_argument(
        '--duration',
        type=parse_duration,
        default=0.0,
        metavar='S',
        help='play so long, repeating the recording; default: the recording once',
    )
    group.add_argument('--report', type=Path, metavar='HTML', help='file for a page with charts')
    group.add_argument(
        '--offline',
        type=Path,
        metavar='BAG',
        help='without ROS: write a copy of the recording with masks and overlays added',
    )
    group.add_argument(
        '--prefix',
        metavar='NAME',
        help='with --offline: of the topics that are added (default: /segmentation)',
    )
    group.add_argument(
        '--compare',
        type=Path,
        nargs=2,
        metavar=('A', 'B'),
        help='instead: two files that --json wrote for recordings, side by side',
    )


def run_bag(arguments: argparse.Namespace) -> int:
    """Measure the node on a recording; the exit code is 0."""
    if arguments.rate == 0.0:
        msg = '--rate 0 is no rate: expected realtime, max, peak, or Hz above 0'
        raise ConfigError(msg)
    # Only here: everything but this and --node runs without ROS.
    from uhr_seg_ros.benchmark.bag_benchmark import BagOptions, benchmark_bag, REALTIME

    options = BagOptions(
        bag=arguments.bag,
        rate=arguments.rate or REALTIME,
        topic=arguments.topic,
        duration_s=arguments.duration,
        parameters={
            'bundle': arguments.bundle,
            'backend': arguments.backend,
            'precision': arguments.precision,
            'threads': arguments.threads,
            'memory_limit_mb': arguments.memory_limit_mb,
        },
    )
    with (
        TemporaryDirectory(prefix='uhr_seg_') as name,
        tqdm(unit=' masks') as bar,
        note_progress(lambda: f'{bar.n} masks came, no figures were written'),
    ):

        def tell(text: str) -> None:
            bar.write(text)

        pictures = Path(name)
        report = benchmark_bag(options, pictures, tell, lambda *_: bar.update())
        bar.close()
        _print_figures(report)
        if arguments.report:
            # Only here: it draws with matplotlib.
            from uhr_seg_ros.reports.bag_page import build

            overlays = sorted(pictures.glob('overlays/*.jpg'))
            write_text(arguments.report, build(report, overlays))
    if arguments.json:
        write_json(arguments.json, report)
    return 0


def run_offline(arguments: argparse.Namespace) -> int:
    """Segment a recording without ROS; the exit code is 1 if a frame was left out."""
    from uhr_seg_ros.replay.bags import describe_bag
    from uhr_seg_ros.replay.offline import check_offline, PREFIX, segment_recording
    from uhr_seg_ros.replay.topics import choose_topic

    prefix = check_offline(arguments.bag, arguments.offline, arguments.prefix or PREFIX)
    topic = choose_topic(arguments.bag, arguments.topic)
    options = EngineOptions(threads=arguments.threads, precision=arguments.precision)
    limits = TilingOptions(arguments.memory_limit_mb)
    with (
        Segmenter(arguments.bundle, arguments.backend, limits, options=options) as segmenter,
        tqdm(total=topic.count, unit=' frames') as bar,
    ):
        result = segment_recording(
            arguments.bag,
            topic,
            arguments.offline,
            segmenter,
            prefix=prefix,
            on_frame=bar.update,
            tell=bar.write,
        )
        provenance = segmenter.provenance
    total, stages = spread(result.total_ms), {k: spread(v) for k, v in result.stage_ms.items()}
    _print_spreads('Per frame', {**stages, 'total': total})
    print(segmenter.bundle.domain_line)
    print(
        f'{len(result.total_ms)} frames segmented, {result.rejected} left out: {arguments.offline}'
    )
    if result.lost:
        print(f'{result.lost} messages could not be copied')
    if arguments.json:
        report = {
            'benchmark': 'offline',
            'total_ms': total,
            'stage_ms': stages,
            'rejected': result.rejected,
            'lost': result.lost,
            'seconds': round(result.seconds, 3),
            'provenance': provenance,
            'bag': describe_bag(arguments.bag, topic),
            'machine': machine(),
        }
        write_json(arguments.json, report)
    return 1 if result.rejected or result.lost else 0


def _print_figures(report: dict[str, Any]) -> None:
    figures = report['figures']
    if 'peak_hz' in report:
        print(f'peak: {report["peak_hz"]:.2f} Hz')
    _print_spreads(
        'Latency',
        {
            **figures['stage_ms'],
            'stamp to mask': figures['stamp_to_mask_ms'],
            'published to mask': figures['latency_ms'],
        },
    )
    frames = figures['frames']
    rows = [['frames', *(f'{value:.0f}' for value in frames.values())]]
    print_table('Frames', ['', *(name.replace('_', ' ') for name in frames)], rows)
    print(f'sent {figures["sent_hz"]} Hz, masks {figures["throughput_hz"]} Hz')
    if figures['skipped']:
        print(f'messages that were skipped, as they are not whole: {figures["skipped"]:.0f}')


def _print_spreads(title: str, rows: dict[str, dict[str, float]]) -> None:
    lines = [
        [name, *(f'{values[column]:.1f}' if values else '' for column in _COLUMNS)]
        for name, values in rows.items()
    ]
    print_table(title, ['', *(f'{column} ms' for column in _COLUMNS)], lines)
