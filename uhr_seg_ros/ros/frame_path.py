# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The way of a frame on the worker: decode, segment, paint, publish."""

from __future__ import annotations

import time

from uhr_seg_ros.bundle import file_sha256, MODEL_FILE
from uhr_seg_ros.classes import ClassSet
from uhr_seg_ros.ros.camera import Camera
from uhr_seg_ros.ros.diagnostics import StageWindows
from uhr_seg_ros.ros.inputs import Frame
from uhr_seg_ros.ros.parameters import Settings
from uhr_seg_ros.segmenter import Segmenter
from uhr_seg_ros.timing import StageClock

WARM_UP_SIZE = (544, 960)
"""Height and width of the frame that engines see first, px: small, as the real size is unknown."""


class FramePath:
    """
    Owns the segmenter.

    `load`, `unload` and `process` are for the worker's thread alone: an engine may belong to the
    thread that opened it, as those of CUDA do.
    """

    def __init__(self) -> None:
        self._segmenter: Segmenter | None = None
        self._facts: dict[str, str] = {}
        self._stages = StageWindows()

    @property
    def name(self) -> str:
        """Bundle and back end, for a log line."""
        return f'{self._facts.get("bundle")} on {self._facts.get("backend")}'

    def load(self, settings: Settings) -> ClassSet:
        """
        Open the engines of the bundle and return its classes.

        Raises:
            UhrSegError: the bundle, the back end or the memory limit is not usable.

        """
        self._segmenter = Segmenter(
            settings.bundle,
            settings.backend,
            memory_limit_mb=settings.memory_limit_mb,
            threads=settings.threads,
        )
        self._segmenter.warm_up(WARM_UP_SIZE)
        self._stages = StageWindows()
        self._facts = _facts(self._segmenter)
        return self._segmenter.bundle.classes

    def unload(self) -> None:
        """Close the engines, if there are any."""
        if self._segmenter is not None:
            self._segmenter.close()
        self._segmenter = None
        self._facts = {}
        self._stages = StageWindows()

    def process(self, camera: Camera, frame: Frame, settings: Settings) -> None:
        """
        Turn one frame into the messages that someone subscribes to.

        Raises:
            UhrSegError: the frame cannot be read or segmented.

        """
        output = camera.output
        clock = StageClock()
        with clock.stage('total'):
            with clock.stage('convert'):
                image = frame.decode()
            confidence = settings.confidence_enabled and output.wants_confidence
            result = self._segmenter(image, confidence=confidence)
            pictures = []
            if output.wants_pictures:
                with clock.stage('overlay'):
                    pictures = output.paint(image, result.mask, settings)
            with clock.stage('publish'):
                output.publish(frame.message.header, result, pictures)
        latency_ms = (time.monotonic() - frame.arrival) * 1e3
        self._stages.add({**result.stage_times, **clock.times}, latency_ms)

    def values(self) -> dict[str, str]:
        """Return stage times and what runs, for `/diagnostics`."""
        return {**self._stages.values(), **self._facts}


def _facts(segmenter: Segmenter) -> dict[str, str]:
    """Return what makes two runs comparable."""
    provenance = segmenter.provenance
    return {
        'backend': segmenter.backend,
        'backend_version': str(provenance['version']),
        'device': str(provenance['device']),
        'bundle': segmenter.bundle.name,
        'bundle_sha256': file_sha256(segmenter.bundle.path / MODEL_FILE),
        'engine_sha256': ', '.join(f'{name} {sha}' for name, sha in provenance['sha256'].items()),
    }
