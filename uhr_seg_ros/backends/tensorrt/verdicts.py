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
What the comparison of engines gave, kept beside them.

How well they agree is noted of engines that stay; why others were refused is kept in their place,
and the next start neither builds nor compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import json

from uhr_seg_ros.backends.tensorrt.cache import EngineCache, Key
from uhr_seg_ros.backends.tensorrt.cache_keeper import CacheKeeper
from uhr_seg_ros.core.cuda_driver import GpuLostError

#: What is noted of an engine when the GPU was lost while it was compared.
_LOST = 'lost_while_compared'


class Verdicts:
    """
    Engines that were never compared with ONNX Runtime, and what becomes of them.

    Args:
        cache: where engines are kept.
        keep: changes the cache.
        refusal_key: makes the key of a refusal of a case, see `Verification`.

    """

    def __init__(
        self,
        cache: EngineCache,
        keep: CacheKeeper,
        refusal_key: Callable[[Mapping[str, str]], Key],
    ) -> None:
        self._cache, self._keep, self._refusal_key = cache, keep, refusal_key
        self._unverified: list[Key] = []

    @property
    def unverified(self) -> bool:
        """Whether engines are open that were never compared."""
        return bool(self._unverified)

    def opened(self, key: Key) -> None:
        """Take an engine that is open now."""
        if 'agreement' not in self._cache.facts(key):
            self._unverified.append(key)

    def forget(self) -> None:
        """Forget engines that nothing compares now."""
        self._unverified.clear()

    def commit(self, facts: Mapping[str, float]) -> None:
        """Note how well the unverified engines agree."""
        for key in self._unverified:
            self._keep(self._cache.note, key, facts)
        self._unverified.clear()

    def discard(self, reason: Exception) -> None:
        """
        Remove the unverified engines from the cache, because they could not be compared.

        Where the GPU was lost meanwhile, for the first time, they stay to be compared at the next
        start, which then need not build them; at the second time they may be why.
        """
        for key in self._unverified:
            if isinstance(reason, GpuLostError) and not self._cache.facts(key).get(_LOST):
                self._keep(self._cache.note, key, {_LOST: 1})
            else:
                self._keep(self._cache.discard, key)
        self._unverified.clear()

    def refuse(self, case: Mapping[str, str], reason: str, facts: Mapping[str, float]) -> str:
        """Remove the unverified engines from the cache, and keep why in their place."""
        for unverified in self._unverified:
            self._keep(self._cache.discard, unverified)
        self._unverified.clear()
        key = self._refusal_key(case)
        self._keep(write_refusal, self._cache, key, reason, facts)
        return read_refusal(self._cache, key) or reason

    def refusal(self, case: Mapping[str, str], *, retry: bool) -> str:
        """
        Return why engines of this case were refused earlier; empty if they are to be tried.

        Args:
            case: see `Verification`.
            retry: forget it.

        """
        key = self._refusal_key(case)
        if retry:
            self._keep(self._cache.discard, key)
        return read_refusal(self._cache, key)


def write_refusal(cache: EngineCache, key: Key, reason: str, facts: Mapping[str, float]) -> None:
    """
    Keep why engines were refused.

    Args:
        cache: where engines are kept.
        key: of kind `verdict`; its fields are everything that decides it.
        reason: one line.
        facts: what was measured.

    Raises:
        CacheError: the folder cannot be written.

    """
    content = json.dumps({'refused': reason, **facts}, indent=2) + '\n'
    cache.write(key, content.encode(), facts)


def read_refusal(cache: EngineCache, key: Key) -> str:
    """Return why engines were refused and how to have them tried again; empty if they were not."""
    found = cache.read(key)
    if found is None:
        return ''
    reason = json.loads(found[0])['refused']
    return f'{reason} (kept in {cache.path(key)}: remove it, or run uhr_seg build, to try again)'
