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

"""What a pixel costs the engines of a graph: expected of the graph, then found of an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from uhr_seg_ros.backends.tensorrt.cache import EngineCache, Key
from uhr_seg_ros.core.bundle import DEFAULT_MEMORY_LIMIT_MB, Graph

if TYPE_CHECKING:
    from uhr_seg_ros.backends.tensorrt.specialized_graphs import SpecializedGraphs


#: Shape of an image at which memory is counted, where a graph takes any size.
COUNTED_IMAGE = (1, 3, 512, 1024)

#: How much of a GPU's own memory the largest branch may take where nobody says.
_SHARE = 0.25


class EngineMemory:
    """
    Tells how large a tile of a frame may be, the same at every start.

    The first engine of a graph decides for all sizes, as long as GPU, TensorRT and graph stay.
    In int8 only what is expected counts: its graphs were calibrated for the tiles that gives.

    Args:
        graphs: of the bundle.
        cache: where what was found is kept.
        keep: changes the cache, see `TensorRTBackend`.
        fields: what tells one kind of GPU and of TensorRT from another.
        own_bytes: memory of the GPU; 0 where it has none but the host's.

    """

    def __init__(
        self,
        graphs: SpecializedGraphs,
        cache: EngineCache,
        keep: Callable[..., object],
        fields: Mapping[str, str],
        own_bytes: int,
    ) -> None:
        self._graphs, self._cache, self._keep, self._fields = graphs, cache, keep, fields
        self._own_bytes = own_bytes
        self._found: dict[str, float] = {}

    def limit_mb(self, limit_mb: int) -> int:
        """Return the memory limit on this GPU, MB: the default one is meant for host memory."""
        if limit_mb != DEFAULT_MEMORY_LIMIT_MB or self._graphs.is_calibrated:
            return limit_mb
        return max(limit_mb, int(_SHARE * self._own_bytes / 1e6))

    def per_pixel(self, graph: Graph, image: tuple[int, ...] = COUNTED_IMAGE) -> float:
        """
        Return what a pixel of a graph's input `image` takes, bytes.

        Args:
            graph: of the bundle.
            image: shape of that input at which it is expected; memory grows with its pixels.

        Raises:
            BundleError: the file is not the one that was hashed.
            EngineError: it cannot be converted.

        """
        found = self._known(graph)
        if found is None:
            found = self._graphs.expected_bytes_per_pixel(graph, image)
            if self._graphs.is_calibrated:
                self._note(graph, found)
        return found

    def note(self, graph: Graph, size: int, pixels: int) -> None:
        """
        Note what an engine takes, if it is the first one.

        Args:
            graph: that it was built of.
            size: bytes, see `Execution.memory_bytes`.
            pixels: of its input.

        """
        if self._known(graph) is None and not self._graphs.is_calibrated:
            self._note(graph, size / pixels)

    def _known(self, graph: Graph) -> float | None:
        if graph.name not in self._found and (kept := self._cache.read(self._key(graph))):
            self._found[graph.name] = float(kept[0])
        return self._found.get(graph.name)

    def _note(self, graph: Graph, per_pixel: float) -> None:
        self._found[graph.name] = per_pixel
        self._keep(self._cache.write, self._key(graph), repr(per_pixel).encode())

    def _key(self, graph: Graph) -> Key:
        fields = {**self._graphs.fields_of_memory(graph), **self._fields}
        return Key('memory', f'{self._graphs.name(graph, {})}memory', fields)
