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

"""Why engines were refused, kept beside them: the next start neither builds nor compares them."""

from __future__ import annotations

from collections.abc import Mapping
import json

from uhr_seg_ros.backends.tensorrt.cache import EngineCache, Key


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
