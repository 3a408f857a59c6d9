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
A map that no memory holds against the same pixels as 4K frames: seconds, memory, the same bytes.

    python -m tools.raster_trial SCRATCH [--size 20000x20000] [--frames 24] [--twice] [--json FILE]

In the folder SCRATCH a map of generated scenes is made (400 megapixels and 0.7 GB, unless it is
there) and frames of its pixels, files of the same kind. Then `uhr_seg segment` runs in fresh
processes: one small frame (what beginning costs), half of the frames, the map, the other half, so
that a machine that slows down slows both. Throughput is without the beginning; memory is the
largest resident set of a process. It takes minutes on two cores; nothing else should run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
import os
from pathlib import Path
import subprocess
import sys
from time import perf_counter
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np

from uhr_seg_ros.benchmark.host import describe_run, write_results
from uhr_seg_ros.cli.arguments import DEFAULT_BUNDLE, parse_size
from uhr_seg_ros.core.errors import ConfigError, ProcessError
from uhr_seg_ros.core.program import guarded
from uhr_seg_ros.core.regular_files import file_sha256
from uhr_seg_ros.core.subprocesses import python_child
from uhr_seg_ros.image_io.raster_files import rasterio_or_error
from uhr_seg_ros.synthetic.scenes import generate_scene

#: Height and width of a frame, px.
FRAME = (2160, 3840)
#: Side of a scene, px, and how many there are; they are turned, too.
SCENE, SCENES = 1024, 4
_FORM = {
    'driver': 'GTiff',
    'count': 3,
    'dtype': 'uint8',
    'photometric': 'rgb',
    'tiled': True,
    'blockxsize': 512,
    'blockysize': 512,
    'compress': 'deflate',
    'zlevel': 1,
}


class Run(NamedTuple):
    """What a process took."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def main(argv: Sequence[str] | None = None) -> int:
    """Make what is missing, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('scratch', type=Path, help='folder; needs 3 bytes per pixel of the map')
    parser.add_argument('--size', type=parse_size, default=(20_000, 20_000), metavar='WxH')
    parser.add_argument('--frame', type=parse_size, default=FRAME, metavar='WxH')
    parser.add_argument('--frames', type=int, default=24, metavar='N', help='frames, at least 2')
    parser.add_argument('--bundle', default=DEFAULT_BUNDLE)
    parser.add_argument('--raster-memory-mb', type=int, default=2000, metavar='MB')
    parser.add_argument('--twice', action='store_true', help='compare the bytes of two runs')
    parser.add_argument('--json', type=Path, metavar='FILE')
    args = parser.parse_args(argv)
    with catch_warnings():  # frames have no coordinates
        simplefilter('ignore')
        return guarded(lambda: trial(args), 'tools.raster_trial')


def trial(args: argparse.Namespace) -> int:
    """Run everything; the exit code is 1 where two runs differ."""
    rasterio_or_error('tools.raster_trial')
    if args.frames < 2:
        msg = f'--frames is {args.frames}, expected at least 2'
        raise ConfigError(msg)
    size, scratch = tuple(args.size), args.scratch
    ortho = write_map(scratch / f'ortho_{size[1]}x{size[0]}.tif', size)
    frames = list(write_frames(ortho, size, args.frame, args.frames, scratch / 'frames'))
    start = write_map(scratch / 'start.tif', (64, 64), placed=False)
    words = ['--bundle', args.bundle, '--raster-memory-mb', args.raster_memory_mb]
    half = len(frames) // 2
    runs = {
        name: segment(inputs, scratch / f'out_{name}', words)
        for name, inputs in (
            ('start', [start]),
            ('frames_before', frames[:half]),
            ('map', [ortho]),
            ('frames_after', frames[half:]),
        )
    }
    megapixels = size[0] * size[1] / 1e6, len(frames) * args.frame[0] * args.frame[1] / 1e6
    mp_per_s = throughput(runs, megapixels, 'seconds')
    per_cpu_s = throughput(runs, megapixels, 'cpu_seconds')
    figures: dict[str, Any] = {
        'size': list(size),
        'frame': list(args.frame),
        'frames': len(frames),
        'bundle': str(args.bundle),
        'raster_memory_mb': args.raster_memory_mb,
        'runs': {name: run._asdict() for name, run in runs.items()},
        'megapixels_per_second': mp_per_s,
        'ratio': mp_per_s['map'] / mp_per_s['frames'],
        'cpu_ratio': per_cpu_s['map'] / per_cpu_s['frames'],
        'sha256': {each.name: file_sha256(each) for each in results_of(scratch / 'out_map')},
    }
    for name, run in runs.items():
        print(f'{name}: {run.seconds:.1f} s, at most {run.peak_mb:.0f} MB')
    print(f'throughput: map {mp_per_s["map"]:.2f} MP/s, frames {mp_per_s["frames"]:.2f} MP/s')
    print(f'ratio: {figures["ratio"]:.3f}, by processor time {figures["cpu_ratio"]:.3f}')
    if args.twice:
        segment([ortho], scratch / 'out_again', words)
        again = {each.name: file_sha256(each) for each in results_of(scratch / 'out_again')}
        figures['same_bytes'] = again == figures['sha256']
        print(f'two runs give the same bytes: {figures["same_bytes"]}')
    if args.json:
        write_results(args.json, {**figures, **describe_run()})
    return 0 if figures.get('same_bytes', True) else 1


def throughput(
    runs: Mapping[str, Run], megapixels: tuple[float, float], what: str
) -> dict[str, float]:
    """Return megapixels per second of the map and of frames, `what` being of `Run`."""
    begin, before, ortho, after = (
        getattr(runs[name], what) for name in ('start', 'frames_before', 'map', 'frames_after')
    )
    spent = ortho - begin, before + after - 2 * begin
    return {
        name: pixels / max(seconds, 1e-9)
        for name, pixels, seconds in zip(('map', 'frames'), megapixels, spent, strict=True)
    }


def write_map(path: Path, size: tuple[int, int], *, placed: bool = True) -> Path:
    """Write a map of turned scenes, unless it is there."""
    import rasterio

    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    scenes = [generate_scene(seed, SCENE, SCENE)[0][..., ::-1] for seed in range(SCENES)]
    height, width = size
    form = dict(_FORM)
    if placed:
        place = rasterio.transform.from_origin(5e5, 5e6, 0.5, 0.5)
        form |= {'crs': 'EPSG:32632', 'transform': place}
    unfinished = path.with_suffix('.part')
    with rasterio.open(unfinished, 'w', height=height, width=width, **form) as file:
        for number, (top, left) in enumerate(
            (top, left) for top in range(0, height, SCENE) for left in range(0, width, SCENE)
        ):
            scene = np.rot90(scenes[number % SCENES], number // SCENES)
            part = scene[: height - top, : width - left].transpose(2, 0, 1)
            window = (top, top + part.shape[1]), (left, left + part.shape[2])
            file.write(part, window=window)
    unfinished.replace(path)
    return path


def write_frames(
    ortho: Path, size: tuple[int, int], frame: tuple[int, int], count: int, folder: Path
) -> Iterator[Path]:
    """Yield frames out of a map, evenly taken, as files of the same kind without coordinates."""
    import rasterio

    places = [
        (top, left)
        for top in range(0, size[0] - frame[0] + 1, frame[0])
        for left in range(0, size[1] - frame[1] + 1, frame[1])
    ]
    if len(places) < count:
        msg = f'a map of {size[1]}x{size[0]} px holds {len(places)} frames, --frames is {count}'
        raise ConfigError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        top, left = places[index * len(places) // count]
        path = folder / f'{frame[1]}x{frame[0]}_{top}_{left}.tif'
        if not path.exists():
            window = (top, top + frame[0]), (left, left + frame[1])
            with (
                rasterio.open(ortho) as file,
                rasterio.open(path, 'w', height=frame[0], width=frame[1], **_FORM) as part,
            ):
                part.write(file.read(window=window))
        yield path


def segment(inputs: Sequence[Path], output: Path, words: Sequence[object]) -> Run:
    """
    Run `uhr_seg segment` in a process of its own.

    Raises:
        ProcessError: it ends with another code than 0.

    """
    command = ['segment', *inputs, '--output', output, *words]
    print(f'uhr_seg {" ".join(map(str, command))[:160]}', flush=True)
    begin = perf_counter()
    process = subprocess.Popen(**python_child('uhr_seg_ros.cli', *command))
    _, status, usage = os.wait4(process.pid, 0)
    seconds = perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f'uhr_seg segment ended with the code {process.returncode}'
        raise ProcessError(msg)
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def results_of(folder: Path) -> list[Path]:
    """Return the maps and overlays of a run."""
    return sorted(path for path in folder.iterdir() if path.suffix in ('.tif', '.jpg'))


if __name__ == '__main__':
    sys.exit(main())
