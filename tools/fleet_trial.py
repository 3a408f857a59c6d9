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
What `uhr_seg batch` survives, and how it grows: real processes, a real Ray cluster of two nodes.

    python -m tools.fleet_trial FOLDER [--only SECTION ...] [--frames 12] [--units 10000]

Makes a recording, a folder of pictures and a map, segments them once undisturbed by one process,
and again on processes and on Ray while workers, nodes and the driver are killed (SIGKILL). Every
time the results have to be the same, byte for byte. FOLDER gets `fleet_trial.log`, a line for each
step with its time, and `fleet_trial.json`; a section that is in it is not run again.

Both nodes are on this machine: what a network does is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
import hashlib
import json
import os
from pathlib import Path
import shutil
import subprocess
import sys
import time
from typing import Any

import cv2
import numpy as np
import psutil

from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.core.command_line import CommandParser
from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.core.program import guarded
from uhr_seg_ros.core.subprocesses import python_child
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.synthetic.scenes import generate_scene

#: Of the pictures and frames: height and width, px.
SIZE = (288, 512)
#: Height and width of the map, px: more than the 8 megapixels of a unit.
MAP = (3456, 3072)
PORT = 26379
_PORTS = (
    'dashboard-agent-grpc-port',
    'dashboard-agent-listen-port',
    'runtime-env-agent-port',
    'metrics-export-port',
)
_PICTURES = 12
_GROWTH = 60


class Trial:
    """
    The sections, and their log.

    Args:
        folder: of inputs, results and log.
        frames: of the recording.
        units: of the section `many`.

    """

    def __init__(self, folder: Path, frames: int, units: int) -> None:
        self.folder, self.frames, self.units = folder.absolute(), frames, units
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log = (self.folder / 'fleet_trial.log').open('a', encoding='utf-8')
        self._start = time.monotonic()
        self.inputs = self.folder / 'inputs'

    def say(self, text: str) -> None:
        """Write a line to the log and the terminal."""
        line = f'[{time.monotonic() - self._start:8.1f} s] {text}'
        print(line, flush=True)
        self._log.write(line + '\n')
        self._log.flush()

    def run(self, only: list[str]) -> dict[str, Any]:
        """Run the sections that are wanted and not in the file of figures yet."""
        path = self.folder / 'fleet_trial.json'
        figures = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else {}
        self._make_inputs()
        for name, section in SECTIONS.items():
            if (only and name not in only) or (name in figures and not only):
                continue
            self.say(f'section {name}: {section.__doc__}')
            figures[name] = section(self)
            self.say(f'section {name}: {json.dumps(figures[name])}')
            write_results(path, figures)
        return figures

    def output(self, name: str) -> Path:
        """Return a folder for results that is not there yet."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def driver(self, output: Path, *words: object) -> Driver:
        """Start a batch of all inputs."""
        units = ('--unit-frames', 1, '--raster-memory-mb', 1000)
        inputs = (self.inputs / 'bag', self.inputs / 'pictures', self.inputs / 'ortho.tif')
        return Driver(self, [*inputs, '--output', output, *units, *words])

    def compare(self, output: Path, reference: Path) -> int:
        """
        Compare the results of two runs.

        Returns:
            How many files are the same.

        Raises:
            ProcessError: one differs, or is missing.

        """
        first, second = digests(output), digests(reference)
        different = sorted(
            name for name in first.keys() | second.keys() if first.get(name) != second.get(name)
        )
        if different or not first:
            msg = f'{output} differs from {reference} in {different or "everything"}'
            raise ProcessError(msg)
        self.say(f'{len(first)} files of {output.name} are those of {reference.name}')
        return len(first)

    def _make_inputs(self) -> None:
        if (self.inputs / 'made').is_file():
            return
        shutil.rmtree(self.inputs, ignore_errors=True)
        pictures = self.inputs / 'pictures'
        pictures.mkdir(parents=True)
        images = [generate_scene(seed, *SIZE)[0] for seed in range(6)]
        for index in range(_PICTURES):
            shifted = np.roll(images[index % len(images)], 16 * index, 1)
            cv2.imwrite(str(pictures / f'{index:04d}.png'), shifted)
        with BagWriter(self.inputs / 'bag', topic='/camera/image_raw') as bag:
            for index in range(self.frames):
                bag.write(np.roll(images[index % len(images)], -16 * index, 1), index * 10**8)
        _write_map(self.inputs / 'ortho.tif')
        (self.inputs / 'made').touch()
        self.say(
            f'inputs: {_PICTURES} pictures, {self.frames} frames, a map of {MAP[1]}x{MAP[0]} px'
        )


class Driver:
    """`uhr_seg batch` in a process of its own, and what it started."""

    def __init__(self, trial: Trial, words: list[object]) -> None:
        self._trial = trial
        self.output = Path(str(words[words.index('--output') + 1]))
        fixed = ('--backend', 'onnxruntime', '--cpus-per-worker', 1)
        child = python_child('uhr_seg_ros.cli', 'batch', *words, *fixed)
        # Not a pipe: nobody would read it while the driver runs.
        self._errors = self.output.with_suffix('.err')
        with self._errors.open('wb') as errors:
            self.process = subprocess.Popen(**child, stdout=subprocess.DEVNULL, stderr=errors)
        self.start = time.monotonic()
        self._manifest = self.output / '.uhr_seg_batch' / 'manifest.jsonl'

    def done(self) -> int:
        """Return how many records it has written."""
        try:
            return self._manifest.read_bytes().count(b'\n')
        except OSError:
            return 0

    def wait_until(self, records: int) -> None:
        """Wait until it has written so many records."""
        while self.done() < records:
            if self.process.poll() is not None:
                msg = f'the driver ended before {records} records: {self._errors}'
                raise ProcessError(msg)
            time.sleep(0.1)

    def end(self, code: int = 0) -> float:
        """Wait for its end; return the seconds it took."""
        if self.process.wait() != code:
            msg = f'the driver ended with {self.process.returncode}, not {code}: {self._errors}'
            raise ProcessError(msg)
        return time.monotonic() - self.start

    def kill(self) -> None:
        """Kill it, and only it."""
        self.process.kill()
        self.process.wait()


def undisturbed(trial: Trial) -> dict[str, Any]:
    """One process, from the beginning to the end."""
    driver = trial.driver(trial.output('reference'), '--workers', 1)
    seconds = driver.end()
    return {'seconds': round(seconds, 1), 'files': len(digests(driver.output))}


def killed_process(trial: Trial) -> dict[str, Any]:
    """Two processes; one of them is killed twice."""
    driver = trial.driver(trial.output('processes'), '--workers', 2)
    for records in (4, 12):
        driver.wait_until(records)
        victim = psutil.Process(driver.process.pid).children()[0]
        trial.say(f'killing process {victim.pid} after {driver.done()} records')
        victim.kill()
    seconds = driver.end()
    return _same(trial, driver.output, seconds)


def killed_driver(trial: Trial) -> dict[str, Any]:
    """Two processes; the driver is killed, and called again."""
    output = trial.output('driver')
    driver = trial.driver(output, '--workers', 2)
    driver.wait_until(10)
    trial.say(f'killing the driver after {driver.done()} records')
    driver.kill()
    before = driver.done()
    driver = trial.driver(output, '--workers', 2)
    return {**_same(trial, output, driver.end()), 'records_before': before}


def ray_alone(trial: Trial) -> dict[str, Any]:
    """Ray of its own; an actor is killed."""
    driver = trial.driver(trial.output('ray'), '--on', 'ray', '--workers', 2)
    driver.wait_until(6)
    victim = _actors(driver.process.pid)[0]
    trial.say(f'killing actor {victim.pid} after {driver.done()} records')
    victim.kill()
    return _same(trial, driver.output, driver.end())


def ray_nodes(trial: Trial) -> dict[str, Any]:
    """Run a cluster of two nodes; one is killed and started again, then the driver is killed."""
    output = trial.output('nodes')
    words = ('--on', 'ray', '--workers', 2, '--address', f'127.0.0.1:{PORT}')
    with Cluster(trial) as cluster:
        driver = trial.driver(output, *words)
        driver.wait_until(6)
        trial.say(f'killing the second node after {driver.done()} records')
        cluster.kill_second()
        driver.wait_until(driver.done() + 4)
        trial.say(f'starting it again after {driver.done()} records')
        cluster.start_second()
        driver.wait_until(driver.done() + 6)
        trial.say(f'killing the driver after {driver.done()} records')
        driver.kill()
        driver = trial.driver(output, *words)
        figures = _same(trial, output, driver.end())
    workers = {json.loads(line)['worker'] for line in _lines(output)}
    return {**figures, 'workers': len(workers - {''})}


def growth(trial: Trial) -> dict[str, Any]:
    """Two actors of one core each against one, in turn: pictures per second."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    pictures = trial.folder / 'growth_inputs'
    pictures.mkdir(exist_ok=True)
    for index in range(_GROWTH):
        shutil.copy(
            trial.inputs / 'pictures' / f'{index % _PICTURES:04d}.png', pictures / f'{index}.png'
        )
    for count in (1, 2, 2, 1, 1, 2):
        output = trial.output(f'growth_{count}')
        words = [pictures, '--output', output, '--unit-frames', 1, '--on', 'ray']
        driver = Driver(trial, [*words, '--workers', count])
        driver.end()
        rates[count].append(_rate([json.loads(line) for line in _lines(output)]))
        trial.say(f'{count} actors: {rates[count][-1]:.3f} pictures per second')
    ratio = np.median(rates[2]) / np.median(rates[1])
    return {'rates': {str(key): value for key, value in rates.items()}, 'ratio': round(ratio, 3)}


def many(trial: Trial) -> dict[str, Any]:
    """Thousands of units of one small picture each: the memory of the driver."""
    folder = trial.folder / 'many_inputs'
    folder.mkdir(exist_ok=True)
    picture = generate_scene(0, 16, 16)[0]
    for index in range(trial.units):
        path = folder / f'{index:05d}.png'
        if not path.is_file():
            cv2.imwrite(str(path), picture)
    figures = {}
    for where in ('local', 'ray'):
        output = trial.output(f'many_{where}')
        words = [folder, '--output', output, '--unit-frames', 1, '--no-overlay', '--workers', 2]
        driver = Driver(trial, [*words, '--on', where])
        samples: list[tuple[int, float]] = []
        process = psutil.Process(driver.process.pid)
        while driver.process.poll() is None:
            with suppress(psutil.Error):
                samples.append((driver.done(), process.memory_info().rss / 1e6))
            time.sleep(2.0)
        seconds = driver.end()
        at = {
            share: next(mb for done, mb in samples if done >= share * trial.units)
            for share in (0.1, 0.5, 0.9)
            if any(done >= share * trial.units for done, _ in samples)
        }
        figures[where] = {
            'seconds': round(seconds, 1),
            'driver_mb_at': {str(share): round(mb, 1) for share, mb in at.items()},
            'peak_mb': round(max((mb for _, mb in samples), default=0.0), 1),
        }
        trial.say(f'{where}: {json.dumps(figures[where])}')
    return figures


SECTIONS: dict[str, Callable[[Trial], dict[str, Any]]] = {
    'undisturbed': undisturbed,
    'killed_process': killed_process,
    'killed_driver': killed_driver,
    'ray_alone': ray_alone,
    'ray_nodes': ray_nodes,
    'growth': growth,
    'many': many,
}


class Cluster:
    """Two nodes of Ray with a core each on this machine."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._nodes: list[subprocess.Popen] = []

    def start_second(self) -> None:
        """Start the node beside the head."""
        self._start('--address', f'127.0.0.1:{PORT}')

    def kill_second(self) -> None:
        """Kill the newest node with all of its processes."""
        _kill_tree(self._nodes.pop())

    def __enter__(self) -> Cluster:
        self._start('--head', '--port', str(PORT), '--include-dashboard', 'false')
        self.start_second()
        return self

    def __exit__(self, *_: object) -> None:
        while self._nodes:
            self.kill_second()

    def _start(self, *words: str) -> None:
        command = [str(Path(sys.executable).with_name('ray')), 'start', '--block', *words]
        fixed = ['--num-cpus', '1', '--node-ip-address', '127.0.0.1']
        fixed += ['--object-store-memory', str(100 << 20), '--disable-usage-stats']
        # Else the node waits for some seconds only until its agents have chosen theirs.
        first = PORT + 10 * (1 + len(self._nodes))
        for index, name in enumerate(_PORTS):
            fixed += [f'--{name}', str(first + index)]
        environment = dict(os.environ)
        if (Path.home() / '.ray' / 'auth_token').is_file():  # a second node does not look for it
            environment.setdefault('RAY_AUTH_MODE', 'token')
        with (self._trial.folder / 'ray.log').open('ab') as log:
            node = subprocess.Popen(
                [*command, *fixed],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        self._nodes.append(node)
        time.sleep(8.0)
        if node.poll() is not None:
            msg = f'{" ".join(command)} ended: see {self._trial.folder / "ray.log"}'
            raise ProcessError(msg)


def digests(output: Path) -> dict[str, str]:
    """Return the hashes of results, without what tells times."""
    left_out = ('summary.html', 'manifest.parquet', 'manifest.csv')
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob('*'))
        if path.is_file()
        and path.name not in left_out
        and output / '.uhr_seg_batch' not in path.parents
    }


def _same(trial: Trial, output: Path, seconds: float) -> dict[str, Any]:
    files = trial.compare(output, trial.folder / 'reference')
    left = [path.name for path in (output / '.uhr_seg_batch' / 'work').iterdir()]
    if left:
        msg = f'{output} has unfinished work: {left}'
        raise ProcessError(msg)
    return {'files_the_same': files, 'seconds': round(seconds, 1)}


def _rate(records: list[dict[str, Any]]) -> float:
    """Return records per second while all workers are at work: not while Ray and bundles open."""
    firsts: dict[str, float] = {}
    for record in records:
        firsts.setdefault(record['worker'], record['finished'])
    start = max(firsts.values())
    times = [record['finished'] for record in records if record['finished'] > start]
    return len(times) / (max(times) - start)


def _lines(output: Path) -> Iterator[str]:
    text = (output / '.uhr_seg_batch' / 'manifest.jsonl').read_text(encoding='utf-8')
    return iter(text.splitlines())


def _actors(driver: int) -> list[psutil.Process]:
    """Return the processes of actors below a driver that started its own Ray."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        with suppress(psutil.Error):
            if 'RayWorker' in ' '.join(process.cmdline()):
                found.append(process)
    return found


def _kill_tree(node: subprocess.Popen) -> None:
    with suppress(psutil.Error):
        parent = psutil.Process(node.pid)
        for process in [*parent.children(recursive=True), parent]:
            with suppress(psutil.Error):
                process.kill()
    node.wait()


def _write_map(path: Path) -> None:
    import rasterio

    scene = generate_scene(7, MAP[0] // 2, MAP[1] // 2)[0].repeat(2, 0).repeat(2, 1)
    bands = np.ascontiguousarray(scene[..., ::-1].transpose(2, 0, 1))
    form = {'driver': 'GTiff', 'crs': 'EPSG:32632', 'tiled': True, 'count': 3, 'dtype': 'uint8'}
    place = rasterio.transform.from_origin(500_000.0, 5_000_000.0, 0.5, 0.5)
    height, width = bands.shape[1:]
    with rasterio.open(path, 'w', height=height, width=width, transform=place, **form) as file:
        file.write(bands)


def main(argv: list[str] | None = None) -> int:
    """Run the trial."""
    parser = CommandParser(prog='python -m tools.fleet_trial', description=__doc__)
    parser.add_argument('folder', type=Path, metavar='FOLDER')
    parser.add_argument('--only', nargs='+', default=[], choices=list(SECTIONS), metavar='SECTION')
    parser.add_argument('--frames', type=int, default=12, metavar='N', help='of the recording')
    parser.add_argument('--units', type=int, default=10_000, metavar='N', help='of `many`')
    arguments = parser.parse_args(argv)

    def run() -> int:
        Trial(arguments.folder, arguments.frames, arguments.units).run(arguments.only)
        return 0

    return guarded(run, 'fleet_trial')


if __name__ == '__main__':
    sys.exit(main())
