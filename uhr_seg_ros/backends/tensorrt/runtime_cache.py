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

"""What TensorRT for RTX compiles when an engine is opened and first run, kept between starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class RuntimeCache:
    """
    The kernels of one engine of static shapes: after its first run nothing more is compiled.

    Args:
        engine: deserialized.
        content: of an earlier start, or empty. TensorRT itself refuses what another GPU, driver
            or version made; that counts as empty.
        keep: gets the content after the first run, unless all of it was there before.

    Attributes:
        config: for `create_execution_context` of the engine, which uses it without holding it.

    """

    def __init__(self, engine: Any, content: bytes, keep: Callable[[bytes], object]) -> None:
        configuration = engine.create_runtime_config()
        compiled = configuration.create_runtime_cache()
        is_known = bool(content) and compiled.deserialize(content)
        configuration.set_runtime_cache(compiled)
        self.config, self._compiled = configuration, compiled
        self._keep = None if is_known else keep

    def after_run(self) -> None:
        """Hand on what was compiled, once; what `keep` raises is raised here."""
        if self._keep is not None:
            keep, self._keep = self._keep, None
            keep(bytes(self._compiled.serialize()))
