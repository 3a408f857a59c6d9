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

"""
Engines that compute something else are refused once: `auto` goes on, and the next start knows.

Driver, CUDA and TensorRT are stand-ins; engines that are spoiled turn their results upside down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import re
import shutil

import numpy as np
import pytest

pytest.importorskip('onnx', reason='engines are built with onnx')

from standin_backend import StandIn
from tiny_bundle import edited_model

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.backends.tensorrt import backend
from uhr_seg_ros.backends.tensorrt.cache import EngineCache
from uhr_seg_ros.core.cuda_driver import GpuLostError
from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.pipelines.verification import RefusedError

SIZE = 64, 96
AGAIN = r'refused: .*, at least 99\.900% is needed: .*\.verdict: remove it, or .* to try again\)'


Spoil = Callable[..., None]


@pytest.fixture
def spoil(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """Return what spoils the fusion's engines of some types, for some heights, or none of them."""
    real = stand_in.trt._Engine.create_execution_context
    dtypes, heights, value = [], [], []

    def create(engine: object) -> object:
        logits = engine._outputs.get('quarter_logits')
        if logits is not None and logits.dtype in dtypes:
            if not heights or 4 * logits.shape[2] in heights:
                engine._session = _Spoiled(engine._session, value[0])
        return real(engine)

    def change(*types: type, only: tuple[int, ...] = (), factor: float = -1.0) -> None:
        dtypes[:], heights[:], value[:] = types, only, [factor]

    monkeypatch.setattr(stand_in.trt._Engine, 'create_execution_context', create)
    return change


class _Spoiled:
    """A session whose results are multiplied by a factor."""

    def __init__(self, session: object, factor: float) -> None:
        self._session, self._factor = session, factor

    def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [values * values.dtype.type(self._factor) for values in self._run(names, feeds)]

    def _run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._session.run(names, feeds)


class Start:
    """One start of a program, and what it tells."""

    def __init__(
        self, stand_in: StandIn, bundle: Path, backend: str = 'auto', **changes: object
    ) -> None:
        self.lines: list[str] = []
        before = stand_in.trt.notes.built
        options = EngineOptions(report=self.lines.append, **changes)
        with Segmenter(bundle, backend, input_size=SIZE, options=options) as segmenter:
            self.backend, self.fallback = segmenter.backend, segmenter.fallback
            self.precision = segmenter.provenance['precision']
        self.built = stand_in.trt.notes.built - before

    @property
    def compared(self) -> int:
        return sum(line.startswith('comparing') for line in self.lines)


def test_fp32_on_the_gpu_comes_before_the_cpu(
    stand_in: StandIn, spoil: Spoil, tiny_bundle: Path
) -> None:
    spoil(np.float16)
    first, second = Start(stand_in, tiny_bundle), Start(stand_in, tiny_bundle)
    for start in (first, second):
        assert (start.backend, start.precision) == ('tensorrt', 'fp32')
        expected = f'tensorrt computes in fp32: the fp16 engines of tiny are {AGAIN}'
        assert re.fullmatch(expected, start.fallback)
        assert any(line.startswith('going on with tensorrt in fp32: ') for line in start.lines)
    assert (first.built, first.compared) == (6, 2)
    assert (second.built, second.compared) == (0, 0)
    assert second.fallback == first.fallback
    entries = {entry.path.suffix: entry.facts for entry in EngineCache().entries()}
    verdict, engine = entries['.verdict'], entries['.engine']
    assert verdict['name'] == 'tiny-fp16-96x64' and verdict['agreement'] < 0.999
    # What engines of all graphs depend on decides about a refusal, too.
    of_graph = ('graph', 'shapes', 'formats')
    common = {name: value for name, value in engine['fields'].items() if name not in of_graph}
    assert {**common, 'precision': 'fp16'}.items() <= verdict['fields'].items()


def test_the_cpu_comes_last(stand_in: StandIn, spoil: Spoil, tiny_bundle: Path) -> None:
    spoil(np.float16, np.float32)
    first, second = Start(stand_in, tiny_bundle), Start(stand_in, tiny_bundle)
    for start in (first, second):
        assert start.backend == 'onnxruntime'
        assert start.fallback.startswith('tensorrt is not used: the fp16 engines of tiny are ')
        assert '; the fp32 engines of tiny are refused' in start.fallback
        assert any(line.startswith('going on with onnxruntime: ') for line in start.lines)
    assert (first.built, first.compared) == (6, 2)
    assert (second.built, second.compared) == (0, 0)


def test_who_chose_both_gets_an_error(stand_in: StandIn, spoil: Spoil, tiny_bundle: Path) -> None:
    spoil(np.float16)
    for _ in range(2):
        with pytest.raises(RefusedError, match=AGAIN):
            Start(stand_in, tiny_bundle, 'tensorrt', precision='fp16')
    assert stand_in.trt.notes.built == 3
    assert Start(stand_in, tiny_bundle, 'tensorrt').precision == 'fp32'
    assert Start(stand_in, tiny_bundle, precision='fp16').precision == 'fp32'


def test_not_a_number_is_a_refusal_too(stand_in: StandIn, spoil: Spoil, tiny_bundle: Path) -> None:
    """As fp16 gives where something overflows."""
    spoil(np.float16, factor=np.nan)
    first, second = Start(stand_in, tiny_bundle), Start(stand_in, tiny_bundle)
    assert (first.built, second.built) == (6, 0)
    assert second.precision == 'fp32'
    assert 'the fp16 engines of tiny are refused: ' in second.fallback
    assert 'not finite' in second.fallback


def other_limit(stand_in: StandIn, bundle: Path) -> None:
    with edited_model(bundle) as model:
        model['agreement'] = {'fp16': 0.99}


def other_tensorrt(stand_in: StandIn, bundle: Path) -> None:
    stand_in.trt.__version__ = '10.3.1'


def other_board(stand_in: StandIn, bundle: Path) -> None:
    stand_in.gpu = replace(stand_in.gpu, multiprocessors=8)


def removed(stand_in: StandIn, bundle: Path) -> None:
    (path,) = EngineCache().directory.glob('*fp16*.verdict')
    path.unlink()


@pytest.mark.parametrize('change', [other_limit, other_tensorrt, other_board, removed])
def test_tried_again_where_something_changed(
    stand_in: StandIn, spoil: Spoil, tiny_bundle: Path, tmp_path: Path, change: Callable
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / 'bundle'))
    spoil(np.float16)
    Start(stand_in, bundle)
    spoil()
    assert Start(stand_in, bundle).precision == 'fp32'
    change(stand_in, bundle)
    again = Start(stand_in, bundle)
    assert (again.precision, again.fallback, again.built) == ('fp16', '', 3)


def test_new_kernels_are_tried(
    stand_in: StandIn, spoil: Spoil, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(np.float16)
    Start(stand_in, tiny_bundle)
    spoil()
    monkeypatch.setattr(backend, 'source_sha256', lambda: 'newer')
    assert Start(stand_in, tiny_bundle).precision == 'fp16'


def test_an_order_to_try_again(stand_in: StandIn, spoil: Spoil, tiny_bundle: Path) -> None:
    """As `uhr_seg build` gives; where it passes, the refusal is forgotten."""
    spoil(np.float16)
    Start(stand_in, tiny_bundle)
    with pytest.raises(RefusedError, match=AGAIN):
        Start(stand_in, tiny_bundle, 'tensorrt', precision='fp16', retry_refused=True)
    spoil()
    assert Start(stand_in, tiny_bundle).precision == 'fp32'
    chosen = {'backend': 'tensorrt', 'precision': 'fp16', 'retry_refused': True}
    assert Start(stand_in, tiny_bundle, **chosen).built == 3
    last = Start(stand_in, tiny_bundle)
    assert (last.precision, last.fallback, last.built, last.compared) == ('fp16', '', 0, 0)


def test_a_comparison_that_could_not_run_is_no_refusal(
    stand_in: StandIn, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, handle: int) -> bool:
        return False

    with monkeypatch.context() as patch:
        patch.setattr(stand_in.trt._Context, 'execute_async_v3', fail)
        failed = Start(stand_in, tiny_bundle)
    assert failed.backend == 'onnxruntime'
    assert failed.built == 3  # fp32 would fail in the same way
    assert 'tensorrt is not used: engine tiny-' in failed.fallback
    assert Start(stand_in, tiny_bundle).precision == 'fp16'


@pytest.mark.parametrize(('times', 'built'), [(1, 0), (2, 3)])
def test_gpu_that_is_lost_while_engines_are_compared(
    stand_in: StandIn,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
    built: int,
) -> None:
    """The next start compares what was built, not more; what loses it twice is built anew."""

    def lose(self: object, handle: int) -> bool:
        stand_in.cuda.lose()
        return False

    chosen = {'backend': 'tensorrt', 'precision': 'fp32'}
    with monkeypatch.context() as patch:
        patch.setattr(stand_in.trt._Context, 'execute_async_v3', lose)
        for _ in range(times):
            with pytest.raises(GpuLostError, match='illegal memory access'):
                Start(stand_in, tiny_bundle, **chosen)
    assert stand_in.trt.notes.built == 3
    found = Start(stand_in, tiny_bundle, **chosen)
    assert (found.built, found.compared) == (built, 1)
    later = Start(stand_in, tiny_bundle, **chosen)
    assert (later.built, later.compared) == (0, 0)


def scene(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_a_size_that_comes_later(stand_in: StandIn, spoil: Spoil, tiny_bundle: Path) -> None:
    """Engines agree at one size and not at another one: the frame in work is not lost."""
    spoil(np.float16, only=(128,))
    with (
        Segmenter(tiny_bundle, input_size=SIZE) as segmenter,
        Segmenter(tiny_bundle, 'onnxruntime') as reference,
    ):
        assert (segmenter.provenance['precision'], segmenter.fallback) == ('fp16', '')
        pending = segmenter.submit(scene(*SIZE))
        after = segmenter.submit(scene(128, 96))
        for each, size in ((pending, SIZE), (after, (128, 96))):
            assert (each.result().mask == reference(scene(*size)).mask).mean() > 0.98
        assert segmenter.backend == 'tensorrt'
        assert segmenter.provenance['precision'] == 'fp32'
        assert segmenter.fallback.startswith('tensorrt computes in fp32: the fp16 engines of')
        spoil(np.float32, only=(160,))
        assert segmenter(scene(160, 96)).mask.shape == (160, 96)
        assert segmenter.backend == 'onnxruntime'
        assert not stand_in.cuda.blocks
    with Segmenter(tiny_bundle, 'tensorrt', options=EngineOptions(precision='fp16')) as chosen:
        with pytest.raises(EngineError, match='refused'):
            chosen(scene(128, 96))
        assert chosen(scene(*SIZE)).mask.shape == SIZE
