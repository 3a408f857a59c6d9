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
Workers as actors of a Ray cluster.

Of Ray only what hands units out is used: actors, and waiting for them. `ray.data` would run them
too, but its tasks are blocks of units that fail together, a lost worker takes its whole block
along, and stages that wait for each other (rows of a raster for its context, a recording for its
chunks) would be data sets one after the other, with a barrier across all inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
import logging
import os
from pathlib import Path
import signal
import socket
import sys
from time import monotonic
from types import ModuleType, TracebackType
from typing import Any

from uhr_seg_ros.core.errors import ConfigError, UhrSegError
from uhr_seg_ros.fleet.pools import Answer, Starts
from uhr_seg_ros.fleet.units import Outcome, Unit
from uhr_seg_ros.fleet.worker import Worker

_LOG = logging.getLogger(__name__)

#: The oldest release whose actors end as this file expects.
OLDEST = (2, 9)

#: What Ray would report to its makers, or shows on a port, unless its user has decided otherwise.
_QUIET = {'RAY_USAGE_STATS_ENABLED': '0'}
#: Of a cluster of its own, MB: units and their records are some kilobytes.
_OBJECT_STORE_MB = 100
#: After so long without any worker the driver says what it waits for, s.
_PATIENCE_S = 60.0
#: So long a cluster may take to accept a connection, s.
_ANSWER_S = 10.0


class RayActors:
    """
    A number of actors, of which one that ends is replaced as soon as a node has room.

    Args:
        options: `BatchOptions` as a dict.
        count: of the actors; None: as many as the nodes have room for.
        address: of a cluster; empty: one is started for this run, on this machine only.
        cpus: cores of an actor.
        gpus: GPUs of an actor.

    Raises:
        ConfigError: Ray is missing or of another release, nothing answers at the address, or no
            node is large enough.

    """

    def __init__(
        self,
        options: Mapping[str, Any],
        count: int | None = None,
        *,
        address: str = '',
        cpus: int = 1,
        gpus: float = 0.0,
    ) -> None:
        _check_address(address)
        self._ray, self._options, self._starts = import_ray(), dict(options), Starts()
        self._form = {'num_cpus': cpus, 'num_gpus': gpus, 'max_restarts': 0}
        self._answers: dict[Any, tuple[Any, int | None]] = {}  # promise -> actor, ticket
        self._free: list[Any] = []
        self._last_seen = monotonic()
        _connect(self._ray, address)
        try:
            for _ in range(count or _room(self._ray, cpus, gpus)):
                self._start()
        except BaseException:
            self._end()
            raise

    @property
    def has_room(self) -> bool:
        return bool(self._free)

    def submit(self, ticket: int, unit: Unit) -> None:
        """Send a unit to an actor that waits."""
        actor = self._free.pop()
        self._answers[actor.run.remote(unit.as_dict())] = actor, ticket

    def wait(self) -> list[Answer]:
        """Wait for answers of actors, or their ends."""
        done, _ = self._ray.wait(list(self._answers), num_returns=1, timeout=_PATIENCE_S)
        if not done:
            self._tell_of_silence()
        return [answer for promise in done for answer in self._take(promise)]

    def _take(self, promise: Any) -> list[Answer]:
        actor, ticket = self._answers.pop(promise)
        self._last_seen = monotonic()
        try:
            message = self._ray.get(promise)
        except self._ray.exceptions.RayTaskError as err:
            message = Outcome(error=_last_line(err)).as_dict()
        except self._ray.exceptions.RayError as err:
            if ticket is None:
                self._starts.bad(_last_line(err))
            self._start()
            return [] if ticket is None else [Answer(ticket, None, _last_line(err))]
        if ticket is not None:
            self._free.append(actor)
            return [Answer(ticket, Outcome.from_dict(message))]
        if message.get('error'):
            raise ConfigError(message['error'])
        self._starts.good()
        self._free.append(actor)
        return []

    def _start(self) -> None:
        actor = self._ray.remote(**self._form)(RayWorker).remote(self._options)
        # Units go only to actors that have answered: others may wait for a node for ever.
        self._answers[actor.ready.remote()] = actor, None

    def _tell_of_silence(self) -> None:
        if not self._free and all(ticket is None for _, ticket in self._answers.values()):
            waited = monotonic() - self._last_seen
            _LOG.warning(
                'no worker for %.0f s: %d wait for a node with %s free',
                waited,
                len(self._answers),
                self._form,
            )

    def _end(self) -> None:
        self._ray.shutdown()

    def __enter__(self) -> RayActors:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()


class RayWorker:
    """A worker in an actor; it opens its bundle when it is asked if it is ready."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._worker: Worker | None = None

    def ready(self) -> dict[str, Any]:
        """Open the bundle; `error` says why it cannot be."""
        try:
            self._worker = Worker(self._options)
        except UhrSegError as err:
            return {'error': str(err)}
        return {'error': ''}

    def run(self, unit: Mapping[str, Any]) -> dict[str, Any]:
        """Do a unit; see `Worker.run`."""
        assert self._worker is not None  # units come after `ready`
        return self._worker.run(unit)


def import_ray() -> ModuleType:
    """
    Import Ray, told to report nothing.

    Raises:
        ConfigError: it is missing, or too old.

    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if 'ray' not in sys.modules and (Path.home() / '.ray' / 'auth_token').is_file():
        # As `ray start` does: from 2.60 on a cluster lets in who has its token.
        os.environ.setdefault('RAY_AUTH_MODE', 'token')
    try:
        import ray
    except ImportError as err:
        msg = f'--on ray needs the package ray ({err}): pip install ray pyarrow fsspec'
        raise ConfigError(msg) from err
    found = tuple(int(each) for each in ray.__version__.split('.')[:2])
    if found < OLDEST:
        oldest = '.'.join(map(str, OLDEST))
        msg = f'ray {ray.__version__} is too old: {oldest} or newer, pip install --upgrade ray'
        raise ConfigError(msg)
    return ray


def _check_address(address: str) -> None:
    """Refuse an address at which nothing listens: Ray itself would try for five minutes."""
    host, _, port = address.rpartition('://')[2].rpartition(':')
    if not (host and port.isdecimal()):  # such as auto
        return
    try:
        socket.create_connection((host, int(port)), _ANSWER_S).close()
    except (OSError, OverflowError) as err:
        raise ConfigError(_no_answer(address, getattr(err, 'strerror', None) or str(err))) from err


def _no_answer(address: str, reason: str) -> str:
    return (
        f'no Ray cluster answers at {address or "this machine"} ({reason}): `ray start --head` '
        'starts one, and prints its address; all of its machines need the same ~/.ray/auth_token'
    )


def _connect(ray: ModuleType, address: str) -> None:
    quiet = {'logging_level': logging.ERROR, 'log_to_driver': False}
    own = {
        'address': 'local',
        'include_dashboard': False,
        'object_store_memory': _OBJECT_STORE_MB << 20,
    }
    there = {'address': address} if address else own
    handler = signal.getsignal(signal.SIGTERM)  # Ray takes it where it may
    try:
        ray.init(**there, **quiet)
    except (ConnectionError, TimeoutError) as err:
        raise ConfigError(_no_answer(address, _last_line(err))) from err
    except (
        Exception,
        SystemExit,
    ) as err:  # another release of Ray or of Python; a node that did not start
        what = f'the Ray cluster at {address} cannot be joined'
        what = what if address else 'a Ray cluster on this machine cannot be started'
        msg = f'{what}: {" ".join(str(err).split())}'
        raise ConfigError(msg) from err
    finally:
        if signal.getsignal(signal.SIGTERM) is not handler:
            signal.signal(signal.SIGTERM, handler)


def _room(ray: ModuleType, cpus: int, gpus: float) -> int:
    """Return how many actors the nodes have room for."""
    room = 0
    for node in ray.nodes():
        if node['Alive']:
            has = node['Resources']
            each = int(has.get('CPU', 0) // cpus)
            room += min(each, int(has.get('GPU', 0) / gpus)) if gpus else each
    if not room:
        msg = (
            f'no node of the cluster has {cpus} cores and {gpus:g} GPUs for a worker: give less '
            'with --cpus-per-worker and --gpus-per-worker'
        )
        raise ConfigError(msg)
    return room


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
