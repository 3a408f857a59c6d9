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

"""Execution providers of ONNX Runtime: what they are, and whether they can be used here."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cache
import io
import os
from typing import NamedTuple

from uhr_seg_ros.backends.options import DEFAULT_PROVIDER
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.gpu import find_gpu
from uhr_seg_ros.core.text import one_line

try:
    import onnxruntime as ort
except ImportError as err:
    msg = f'ONNX Runtime cannot be imported ({err}): pip install onnxruntime'
    raise EngineError(msg) from err

__all__ = [
    'CPU',
    'PROVIDERS',
    'Provider',
    'check_provider',
    'name_with',
    'ort',
    'prepare',
    'provenance',
]

_NAME = 'onnxruntime'


class Provider(NamedTuple):
    """
    One execution provider.

    Attributes:
        name: as ONNX Runtime has it.
        package: of PyPI, whose ONNX Runtime has it.
        options: of the provider; what computes in float32 is to stay float32.
        environment: variables that it looks at where it has no option.
        needs_gpu: whether it runs on NVIDIA GPUs only, see `core.gpu.find_gpu`.
        first_frame: what to tell the user about the first frame of each size.

    """

    name: str
    package: str
    options: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    needs_gpu: bool = False
    first_frame: str = ''


CPU = Provider('CPUExecutionProvider', 'onnxruntime')

#: `options.PROVIDERS` -> what ONNX Runtime knows it as.
PROVIDERS = {
    'cpu': CPU,
    # TF32 is float32 with the mantissa of float16.
    'cuda': Provider(
        'CUDAExecutionProvider',
        'onnxruntime-gpu[cuda,cudnn]',
        options={'use_tf32': '0'},
        needs_gpu=True,
        first_frame='takes seconds, in which cuDNN looks for the fastest convolutions',
    ),
    'tensorrt': Provider(
        'TensorrtExecutionProvider',
        'onnxruntime-gpu[cuda,cudnn]',
        environment={'NVIDIA_TF32_OVERRIDE': '0'},
        needs_gpu=True,
        first_frame='takes minutes, in which engines are built anew at every start: the back end '
        'tensorrt keeps its own',
    ),
    'openvino': Provider('OpenVINOExecutionProvider', 'onnxruntime-openvino'),
}


def check_provider(name: str) -> None:
    """
    Refuse an execution provider that the installed ONNX Runtime does not have.

    Args:
        name: a key of `PROVIDERS`.

    Raises:
        EngineError: names those that it has, or says why there is no GPU; and the way out.

    """
    there = ort.get_available_providers()
    if PROVIDERS[name].name not in there:
        known = [key for key, provider in PROVIDERS.items() if provider.name in there]
        package = PROVIDERS[name].package
        msg = (
            f'execution provider {name} is not in the installed ONNX Runtime {ort.__version__}, '
            f'which has {", ".join(known)}: pip install {package} in place of onnxruntime, or '
            f'choose the back end onnxruntime'
        )
        raise EngineError(msg)
    if PROVIDERS[name].needs_gpu:
        find_gpu()


def name_with(key: str) -> str:
    """Name the back end with a provider, a key of `PROVIDERS`, as a user writes it."""
    return _NAME if key == DEFAULT_PROVIDER else f'{_NAME}:{key}'


def provenance(key: str, precision: str) -> dict[str, str]:
    """
    Return what runs graphs: `backend`, `version`, `device`, `precision`.

    Args:
        key: of `PROVIDERS`.
        precision: of the graphs.

    Raises:
        EngineError: the provider needs a GPU, and there is none.

    """
    provider = PROVIDERS[key]
    device = find_gpu().name if provider.needs_gpu else key
    return {
        'backend': name_with(key),
        'version': ort.__version__,
        'device': device if key == DEFAULT_PROVIDER else f'{device} ({provider.name})',
        'precision': precision,
    }


def prepare(provider: Provider) -> str:
    """Make ready for a session; returns what ONNX Runtime says about missing libraries."""
    os.environ.update(provider.environment)
    return _load_cuda() if provider.needs_gpu else ''


@cache
def _load_cuda() -> str:
    """Load CUDA and cuDNN from where pip puts them; returns what ONNX Runtime says about it."""
    said = io.StringIO()
    if hasattr(ort, 'preload_dlls'):  # from ONNX Runtime 1.21 on
        with redirect_stdout(said):
            ort.preload_dlls()
    return one_line(said.getvalue())
