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

"""The installed TensorRT: which one it is, and in which of three ways it builds networks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from importlib import import_module
import re
from typing import Any

from uhr_seg_ros.core.errors import EngineError

#: The first TensorRT with the name-based tensor API (JetPack 5.1).
OLDEST = (8, 5)

#: Python module -> product. TensorRT for RTX has the same API and comes from PyPI alone.
PRODUCTS = {'tensorrt': 'TensorRT', 'tensorrt_rtx': 'TensorRT-RTX'}

#: Lines of the log that an error repeats.
LOG_LINES = 6

#: Newest warnings that wait to be reported.
WARNINGS = 20

_REMEDY = (
    'on a Jetson: sudo apt install python3-libnvinfer; elsewhere: pip install tensorrt, '
    'or tensorrt-rtx for GeForce RTX and RTX PRO'
)


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
    def strongly_typed(self) -> bool:
        """Whether tensors keep the types that the ONNX file gives them (from TensorRT 10 on)."""
        return self.product == 'TensorRT-RTX' or self.version >= (10,)

    @property
    def has_timing_cache(self) -> bool:
        """Whether builds are timed on the GPU at all; TensorRT for RTX does so when it runs."""
        return self.product == 'TensorRT'

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
        if self.product == 'TensorRT' and self.version < (11,):
            return 1 << int(flags.STRONGLY_TYPED)
        return 0

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
        return TensorRTError(f'{text} ({self}): {said or "it gives no reason"}')


def load_tensorrt() -> TensorRT:
    """
    Import TensorRT, or TensorRT for RTX where that is what is installed.

    Call `core.gpu.find_gpu` first: without a driver TensorRT 8.6 ends the process.

    Raises:
        TensorRTError: none can be imported; the text says how to install one.
        TensorRTError: it is older than 8.5.

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
    if product == 'TensorRT' and version < OLDEST:
        msg = (
            f'TensorRT {module.__version__} is too old: 8.5 or newer is needed '
            '(JetPack 5.1 or newer on a Jetson)'
        )
        raise TensorRTError(msg)
    return TensorRT(module, product, version, _make_log(module))


def _make_log(trt: Any) -> Any:
    """Make a logger that keeps errors and warnings; its base class exists only at run time."""
    errors = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: deque[str] = deque(maxlen=LOG_LINES)
            self.warnings: deque[str] = deque(maxlen=WARNINGS)

        # Lines of every severity come here, from any thread: the logger of the bindings, which
        # drops some before Python, prints the others to stdout, where no log of ours gets them.
        def log(self, severity: Any, msg: str) -> None:
            if severity in errors:
                self.lines.append(' '.join(msg.split()))
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(' '.join(msg.split()))

    return Log()
