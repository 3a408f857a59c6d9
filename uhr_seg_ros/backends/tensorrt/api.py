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

"""The installed TensorRT: which one it is, for which GPUs, and how it builds networks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from importlib import import_module
import re
from typing import Any

from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.gpu import Gpu

#: Python module -> product. TensorRT for RTX has the same API and comes from PyPI alone.
PRODUCTS = {'tensorrt': 'TensorRT', 'tensorrt_rtx': 'TensorRT-RTX'}

#: Product -> the first version with the name-based tensor API, and the first one on PyPI.
OLDEST = {'TensorRT': (8, 5), 'TensorRT-RTX': (1, 4)}

#: Lines of the log that an error repeats.
LOG_LINES = 6

#: Newest warnings that wait to be reported.
WARNINGS = 20

_REMEDY = (
    'on a Jetson: sudo apt install python3-libnvinfer; elsewhere: pip install tensorrt, '
    'or tensorrt-rtx for GeForce RTX and RTX PRO; or choose the back end onnxruntime:cuda'
)

_OTHERS = (
    'install TensorRT itself, which a Jetson has from JetPack, or choose the back end '
    'onnxruntime:cuda or onnxruntime'
)

#: What TensorRT says -> what it means, and what to do.
_ADVICE = {
    'FP32 GEMM is not supported': (
        'TensorRT for RTX has no float32 matrix products on Turing, which the graph needs in '
        f'every precision: {_OTHERS}'
    ),
}


class TensorRTError(EngineError):
    """TensorRT is missing, too old, or failed; the text repeats the end of its log."""


@dataclass(frozen=True)
class TensorRT:
    """
    One imported TensorRT.

    Attributes:
        module: `tensorrt` or `tensorrt_rtx`.
        product: its name for people.
        version: such as (10, 3, 0).
        log: what it reports; one object, since TensorRT keeps the first one that it gets.

    """

    module: Any
    product: str
    version: tuple[int, ...]
    log: Any

    def __str__(self) -> str:
        return f'{self.product} {self.module.__version__}'

    @property
    def is_rtx(self) -> bool:
        """Whether this is TensorRT for RTX, which compiles its kernels when engines are run."""
        return self.product == 'TensorRT-RTX'

    @property
    def strongly_typed(self) -> bool:
        """Whether tensors keep the types that the ONNX file gives them (from TensorRT 10 on)."""
        return self.is_rtx or self.version >= (10,)

    @property
    def has_timing_cache(self) -> bool:
        """Whether builds are timed on the GPU at all; TensorRT for RTX does so when it runs."""
        return not self.is_rtx

    @property
    def has_layer_norm(self) -> bool:
        """Whether the parser reads LayerNormalization (from TensorRT 8.6 on)."""
        return self.strongly_typed or self.version >= (8, 6)

    def creation_flags(self) -> int:
        """
        Return the flags of `Builder.create_network`.

        Explicit batch is a flag before TensorRT 10 and the only way since; strong typing is a
        flag in TensorRT 10 and the only way from 11 on.
        """
        flags = self.module.NetworkDefinitionCreationFlag
        if not self.strongly_typed:
            return 1 << int(flags.EXPLICIT_BATCH)
        if not self.is_rtx and self.version < (11,):
            return 1 << int(flags.STRONGLY_TYPED)
        return 0

    def check_gpu(self, gpu: Gpu) -> None:
        """
        Refuse a GPU that TensorRT for RTX does not know; engines would be built, but not run.

        Raises:
            TensorRTError: names the GPUs that it knows, and the way out.

        """
        if self.is_rtx and not hasattr(self.module.ComputeCapability, _sm(gpu.capability)):
            members = self.module.ComputeCapability.__members__
            numbers = sorted(int(name[2:]) for name in members if name.startswith('SM'))
            msg = (
                f'{self} does not run on {gpu.name} (compute capability '
                f'{".".join(map(str, gpu.capability))}), only on '
                f'{", ".join(str(number / 10) for number in numbers)}: {_OTHERS}'
            )
            raise TensorRTError(msg)

    def aim(self, config: Any, capability: tuple[int, int]) -> None:
        """
        Let TensorRT for RTX build for one kind of GPU, and so that CUDA graphs hold the engine.

        By itself it builds for all kinds from Ampere on, not for Turing; and engines may take
        memory while they run, which cannot be captured.

        Args:
            config: of the build.
            capability: compute capability that `check_gpu` took.

        """
        if self.is_rtx:
            config.num_compute_capabilities = 1
            target = getattr(self.module.ComputeCapability, _sm(capability))
            config.set_compute_capability(target, 0)
            config.set_flag(self.module.BuilderFlag.REQUIRE_USER_ALLOCATION)

    def make(self, kind: str) -> Any:
        """
        Make a `Builder` or a `Runtime`.

        Raises:
            TensorRTError: its libraries find no usable driver, or do not fit together.

        """
        try:
            return getattr(self.module, kind)(self.log)
        except TypeError as err:  # how the bindings say that they got nothing
            raise self.error(f'TensorRT makes no {kind}') from err

    def error(self, text: str) -> TensorRTError:
        """Make an error that ends with what TensorRT said last, and forget that."""
        said = '; '.join(dict.fromkeys(self.log.lines))
        self.log.lines.clear()
        advice = ''.join(f': {way_out}' for cause, way_out in _ADVICE.items() if cause in said)
        return TensorRTError(f'{text} ({self}): {said or "it gives no reason"}{advice}')


def load_tensorrt() -> TensorRT:
    """
    Import TensorRT, or TensorRT for RTX where that is what is installed.

    Call `core.gpu.find_gpu` first: without a driver TensorRT 8.6 ends the process.

    Raises:
        TensorRTError: none can be imported; the text says how to install one.
        TensorRTError: it is older than `OLDEST`.

    """
    reasons = []
    for name in PRODUCTS:
        try:
            return describe(import_module(name))
        except ImportError as err:
            reasons.append(' '.join(str(err).split()))
    msg = f'TensorRT cannot be imported ({"; ".join(reasons)}): {_REMEDY}'
    raise TensorRTError(msg)


def describe(module: Any) -> TensorRT:
    """
    Look at an imported module.

    Raises:
        TensorRTError: it is older than `OLDEST`.

    """
    product = PRODUCTS.get(module.__name__, 'TensorRT')
    version = tuple(int(part) for part in re.findall(r'\d+', module.__version__)[:3])
    oldest = OLDEST[product]
    if version < oldest:
        msg = (
            f'{product} {module.__version__} is too old: {".".join(map(str, oldest))} or newer is '
            'needed (on a Jetson: JetPack 6 or newer)'
        )
        raise TensorRTError(msg)
    return TensorRT(module, product, version, _make_log(module))


def _sm(capability: tuple[int, int]) -> str:
    """Name a compute capability as TensorRT for RTX does, such as `SM89`."""
    return 'SM{}{}'.format(*capability)


def _make_log(trt: Any) -> Any:
    """Make a logger that keeps errors and warnings; its base class exists only at run time."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: deque[str] = deque(maxlen=LOG_LINES)
            self.warnings: deque[str] = deque(maxlen=WARNINGS)
            self._kept = {
                int(trt.ILogger.INTERNAL_ERROR): self.lines,
                int(trt.ILogger.ERROR): self.lines,
                int(trt.ILogger.WARNING): self.warnings,
            }

        # Lines of every severity come here, from any thread: the logger of the bindings, which
        # drops some before Python, prints the others to stdout, where no log of ours gets them.
        def log(self, severity: Any, msg: str) -> None:
            # To compare members of their enumeration takes ten times as long.
            kept = self._kept.get(int(severity))
            if kept is not None:
                kept.append(' '.join(msg.split()))

    return Log()
