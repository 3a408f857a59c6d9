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

"""What is chosen for a job, such as a batch: the same for all workers, and what shapes results."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.fleet.units import digest
from uhr_seg_ros.image_io.raster_bands import BandRules
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.refinement.refine import Refinement
from uhr_seg_ros.pipelines.segmenter import Segmenter

#: Folder of the driver's notes and of unfinished work, inside of the output folder.
WORK = '.uhr_seg_batch'


@dataclass(frozen=True)
class JobOptions:
    """
    What every worker knows, whatever its job is; values that JSON holds.

    Attributes:
        output: the folder of the results, which all workers see.
        bundle: folder or name.
        bundle_sha256: of its model.yaml: that of every worker has to be the same.
        retries: so many times what failed is tried again.

    """

    output: str
    bundle: str
    bundle_sha256: str
    retries: int = field(default=2, kw_only=True)

    @property
    def folder(self) -> Path:
        """The folder of the results."""
        return Path(self.output)

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes by their names, as a worker takes them."""
        return asdict(self)


@dataclass(frozen=True)
class BatchOptions(JobOptions):
    """
    Those of a batch.

    Attributes:
        backend: see `Segmenter`.
        precision: of the engines.
        threads: of the engines of a worker; 0: one per core.
        memory_limit_mb: of the detail branch, MB; 0: no limit.
        refine: one of `METHODS`: whether the image decides the boundaries.
        raster_memory_mb: of a worker while it segments a raster, MB.
        topic: of recordings; empty: the only likely one.
        every: 2 for every second frame of recordings, videos and images in a row.
        overlay: whether overlays are made too.
        mask_format: of masks of images and videos.
        ground_resolution: m per pixel; 0: what a GeoTIFF says.
        bands: see `BandRules`.
        stretch: see `BandRules`.
        target_resolution: see `BandRules`.
        unit_frames: frames of a unit; a raster counts as frames of 4K.
        cache: folder of a worker for copies of what is not on a disk; empty: a temporary one.

    """

    backend: str = 'auto'
    precision: str = 'auto'
    threads: int = 0
    memory_limit_mb: int = 0
    refine: str = 'none'
    raster_memory_mb: int = 2000
    topic: str = ''
    every: int = 1
    overlay: bool = True
    mask_format: str = 'png'
    ground_resolution: float = 0.0
    bands: tuple[int, ...] | None = None
    stretch: str | tuple[float, float] | None = None
    target_resolution: float | None = None
    unit_frames: int = 32
    cache: str = ''

    @property
    def work(self) -> Path:
        """The folder of what is not finished."""
        return self.folder / WORK / 'work'

    def thumbnail(self, slot: str) -> Path:
        """Return the picture of a recording on the summary page; it need not be there."""
        return self.folder / WORK / 'thumbnails' / f'{slot}.jpg'

    @property
    def rules(self) -> BandRules:
        """Those for bands of rasters."""
        stretch = tuple(self.stretch) if isinstance(self.stretch, list) else self.stretch
        bands = None if self.bands is None else tuple(self.bands)
        return BandRules(bands, stretch, self.target_resolution)

    @property
    def refinement(self) -> Refinement | None:
        """That of boundaries; None leaves them."""
        return None if self.refine == 'none' else Refinement()

    @property
    def settings(self) -> str:
        """Hash of what decides how the results of an image look."""
        return digest([self.bundle_sha256, {name: getattr(self, name) for name in _DECIDE}])

    @property
    def settings_of_parts(self) -> str:
        """The same of an input that is cut: parts of other lengths are other parts."""
        return digest([self.settings, self.unit_frames, self.topic, self.every])

    def open_segmenter(self) -> Segmenter:
        """
        Open the bundle.

        Raises:
            UhrSegError: it cannot be used.

        """
        return Segmenter(
            self.bundle,
            self.backend,
            TilingOptions(self.memory_limit_mb),
            options=EngineOptions(threads=self.threads, precision=self.precision),
        )


_DECIDE = (
    'backend',
    'precision',
    'memory_limit_mb',
    'refine',
    'raster_memory_mb',
    'overlay',
    'mask_format',
    'ground_resolution',
    'bands',
    'stretch',
    'target_resolution',
)
