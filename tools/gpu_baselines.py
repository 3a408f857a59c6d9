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

"""PyTorch on the same GPU: what the chip can do, and the paper's network in its usual forms."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

from tools.gpu_cases import Cases, Result, spread
from tools.gpu_setup import Setup


def ceilings(setup: Setup) -> Result:
    """Time a copy within the GPU's memory and a matrix product, which nothing is faster than."""
    import torch

    bench, scale = setup.machine.torch_bench(), setup.scale
    source = torch.randint(0, 255, (16 * scale.copied,), dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    copy_ms = spread(bench.times(lambda: target.copy_(source), 10))['median_ms']
    sides = scale.product, scale.product
    a, b = (torch.randn(sides, device=bench.device, dtype=bench.half) for _ in range(2))
    product_ms = spread(bench.times(lambda: a @ b, 10))['median_ms']
    return {
        'copy_gb_per_s': round(2 * source.numel() / max(copy_ms, 1e-6) / 1e6, 1),
        'half_tflops': round(2 * scale.product**3 / max(product_ms, 1e-6) / 1e9, 1),
    }


def eager(setup: Setup) -> Cases:
    """Time the paper's network: eager with and without TF32, in half, and as CUDA graphs."""
    yield 'ceilings', partial(ceilings, setup)
    network = _Network(setup)
    yield 'eager fp32', network.fp32
    yield 'eager TF32', lambda: network.fp32(tf32=True)
    yield 'eager fp16', network.fp16
    yield 'CUDA graph fp16', lambda: network.fp16(captures=True)
    yield 'eager fp16, channels last', lambda: network.fp16(last=True)
    yield 'CUDA graph fp16, channels last', lambda: network.fp16(last=True, captures=True)
    yield (
        'CUDA graph fp16, channels last, fastest convolutions',
        lambda: network.fp16(last=True, captures=True, searches=True),
    )


def compiled(setup: Setup) -> Cases:
    """Time it compiled; no mode that searches, which takes many minutes."""
    network = _Network(setup)
    for mode in ('default', 'reduce-overhead'):
        yield f'compiled fp16, {mode}', partial(network.compiled, mode)


class _Network:
    """The paper's network with seeded weights, in one form at a time."""

    def __init__(self, setup: Setup) -> None:
        import torch

        from uhr_seg_ros.networks.presets import build_network

        self._bench, self._scale = setup.machine.torch_bench(), setup.scale
        torch.manual_seed(0)
        self._built: Any = build_network(setup.scale.network).eval()

    def fp32(self, *, tf32: bool = False) -> Result:
        """Time float32, with products in TF32 or without."""
        import torch

        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        return self._timed(self._work(torch.float32))

    def fp16(
        self, *, last: bool = False, captures: bool = False, searches: bool = False
    ) -> Result:
        """Time half precision: channels last, as a CUDA graph, with convolutions tried out."""
        import torch

        torch.backends.cudnn.benchmark = searches
        work = self._work(self._bench.half, last=last)
        return self._timed(self._bench.captured(work) if captures else work)

    def compiled(self, mode: str) -> Result:
        """Time half precision after `torch.compile`."""
        transform = partial(self._bench.compiled, mode=mode)
        return self._timed(self._work(self._bench.half, last=True, transform=transform))

    def _work(
        self,
        dtype: Any,
        *,
        last: bool = False,
        transform: Callable[[Any], Any] = lambda network: network,
    ) -> Callable[[], object]:
        import torch

        form = torch.channels_last if last else torch.contiguous_format
        place = {'device': self._bench.device, 'dtype': dtype, 'memory_format': form}
        network = transform(deepcopy(self._built).to(**place))
        image = torch.randn(1, 3, *self._scale.paper_size).to(**place)
        return lambda: network(image).argmax(1).byte()

    def _timed(self, work: Callable[[], object]) -> Result:
        return spread(self._bench.times(work, max(self._scale.frames // 2, 1)))
