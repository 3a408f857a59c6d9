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

"""Changes of the engine cache that may fail: a full disk or a read-only one stops no node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, ExitStack
from typing import Any

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt.cache import CacheError, EngineCache, Key


class CacheKeeper:
    """
    Changes the cache; where that fails, warns once for each reason, or raises if asked to.

    Args:
        cache: where engines are kept.
        options: say whom to warn, and whether a cache is required.

    """

    def __init__(self, cache: EngineCache, options: EngineOptions) -> None:
        self._cache, self._options = cache, options
        self._warned = ''

    def __call__(self, change: Callable[..., object], *arguments: Any) -> None:
        """
        Call a function that changes the cache, with its arguments.

        Raises:
            CacheError: the options require a cache, and it cannot be changed.

        """
        try:
            change(*arguments)
        except CacheError as err:
            if self._options.require_cache:
                raise
            if str(err) != self._warned:
                self._options.warn(f'engines are built again at the next start: {err}')
            self._warned = str(err)

    @contextmanager
    def lock(self, key: Key) -> Iterator[None]:
        """Keep other processes from building the same, if the cache can be written."""
        with ExitStack() as held:
            self(held.enter_context, self._cache.lock(key))
            yield
