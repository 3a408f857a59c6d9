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

"""A graph is opened for the size of frames that comes, and gives what it gave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import shutil

import numpy as np
import pytest

from uhr_seg_ros.backends import onnxruntime
from uhr_seg_ros.backends.fixed_sizes import FixedSizes, MIN_VALUES
from uhr_seg_ros.backends.onnxruntime import LIGHT_SIZES, OnnxRuntimeEngine
from uhr_seg_ros.core.bundle import Graph, load_bundle
from uhr_seg_ros.core.errors import EngineError


@pytest.fixture
def graph(tiny_bundle: Path) -> Graph:
    """Return the detail graph of the tiny bundle."""
    return load_bundle(tiny_bundle).graphs['detail']


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).standard_normal((1, 3, height, width)).astype('f4')


def opened_for(engine: OnnxRuntimeEngine) -> tuple[int, int] | None:
    """Return the size that the session takes, None for any."""
    height, width = engine._session.get_inputs()[0].shape[2:]
    return None if isinstance(height, str) else (height, width)


def test_the_same_result_in_a_session_for_one_size(graph: Graph) -> None:
    engine, plain = OnnxRuntimeEngine(graph, 1), OnnxRuntimeEngine(graph, 1)
    plain._sizes.give_up()
    for size in ((160, 192), (32, 48), (160, 192)):
        feeds = {'image': image(*size)}
        found, expected = (each.run(feeds, ['affinity', 'local']) for each in (engine, plain))
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)
    assert opened_for(plain) is None
    engine.run({'image': image(160, 192)}, ['local'])
    assert opened_for(engine) == (160, 192)
    assert engine.input_shapes == {'image': (1, 3, None, None)}


def of(*shape: int) -> dict[str, np.ndarray]:
    return {'image': np.broadcast_to(np.float32(0), shape)}


def test_sizes_that_alternate_are_not_opened_again_and_again() -> None:
    sizes = FixedSizes({'image': (1, 3, 'height', 'width')})
    first, second = of(1, 3, 160, 192), of(1, 3, 176, 192)
    assert sizes.choose(first) == {'height': 160, 'width': 192}
    assert sizes.choose(second) == {'height': 176, 'width': 192}
    chosen = [bool(sizes.choose(each)) for each in (first, second) * 50]
    assert not any(chosen)


def test_a_new_size_that_stays_is_opened_and_each_time_later() -> None:
    sizes = FixedSizes({'image': (1, 3, 'height', 'width')})
    runs = []
    for height in (160, 176, 192, 208):
        frame = of(1, 3, height, 192)
        runs.append(next(n for n in range(1, 100) if sizes.choose(frame).get('height') == height))
        assert sizes.choose(frame) == {'height': height, 'width': 192}
    assert runs == [1, 1, 2, 4]


def test_several_sizes_at_a_time() -> None:
    sizes = FixedSizes({'image': (1, 3, 'height', 'width')}, most=2)
    first, second, third = (of(1, 3, height, 192) for height in (160, 176, 192))
    assert all(sizes.choose(each) for each in (first, second) * 3)
    assert sizes.choose(third)  # instead of the first one
    assert sizes.choose(second) and sizes.kept(third) and not sizes.kept(first)
    assert [bool(sizes.choose(first)) for _ in range(2)] == [False, True]
    assert not sizes.kept(third), 'the one that was not used for longest goes'


def test_a_small_graph_stays_open_for_some_sizes(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., object] = onnxruntime._open_session
    opened: list[dict[str, int]] = []

    def noted(*arguments: object) -> object:
        opened.append(dict(arguments[3]) if len(arguments) > 3 else {})
        return real(*arguments)

    monkeypatch.setattr(onnxruntime, '_open_session', noted)
    heights = [160, 176, 192] * 2 + [208] * 2

    def run(engine: OnnxRuntimeEngine) -> list[int]:
        opened.clear()
        for height in heights:
            found = engine.run({'image': image(height, 192)}, ['local'])['local']
            assert found.shape[2] == height // 4
        return [next(iter(each.values()), 0) for each in opened]

    engine = OnnxRuntimeEngine(graph, 1)
    assert run(engine) == [160, 176, 192, 208]
    assert len(engine._others) == LIGHT_SIZES
    engine.forget()
    assert not engine._others and opened_for(engine) is None
    monkeypatch.setattr(onnxruntime, 'LIGHT_BYTES', 0)
    assert run(OnnxRuntimeEngine(graph, 1)) == [160, 176, 0, 208]


@pytest.mark.parametrize(
    'feeds',
    [
        of(1, 3, 16, MIN_VALUES // 48 - 1),  # too small to be worth it
        of(1, 3, 0, 192),
        of(1, 3, 65536),
        {'other': np.zeros(MIN_VALUES)},
        {},
    ],
    ids=['small', 'empty', 'rank', 'name', 'none'],
)
def test_what_does_not_fit_is_left_to_the_runtime(feeds: dict[str, np.ndarray]) -> None:
    assert FixedSizes({'image': (1, 3, 'height', 'width')}).choose(feeds) == {}


def test_axes_of_one_name_have_one_length() -> None:
    sizes = FixedSizes({'a': ('rows', 'columns'), 'b': ('rows', None, 3)})
    big = np.broadcast_to(np.float32(0), (300, 400))
    assert sizes.choose({'a': big, 'b': np.zeros((300, 2, 3))}) == {'rows': 300, 'columns': 400}
    assert sizes.choose({'a': big, 'b': np.zeros((301, 2, 3))}) == {}


def test_a_graph_that_cannot_be_opened_for_a_size_runs_as_it_is(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., object] = onnxruntime._open_session

    def refuse(*arguments: object) -> object:
        if len(arguments) > 3 and min(arguments[3].values(), default=-1) >= limit:
            msg = 'not in this size'
            raise EngineError(msg)
        return real(*arguments)

    monkeypatch.setattr(onnxruntime, '_open_session', refuse)
    limit = 170
    engine = OnnxRuntimeEngine(graph, 1)
    engine.run({'image': image(160, 192)}, ['local'])
    assert opened_for(engine) == (160, 192)
    for _ in range(3):
        assert engine.run({'image': image(176, 192)}, ['local'])['local'].shape[2] == 44
    assert opened_for(engine) is None
    limit = 0
    engine = OnnxRuntimeEngine(graph, 1)
    assert engine.run({'image': image(160, 192)}, ['local'])['local'].shape[2] == 40
    assert opened_for(engine) is None


def test_a_bundle_that_was_removed_goes_on(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / graph.path.name
    shutil.copy(graph.path, path)
    engine = OnnxRuntimeEngine(replace(graph, path=path), 1)
    engine.run({'image': image(160, 192)}, ['local'])  # as a warm-up does
    path.unlink()
    for height in (176, 192, 208):
        assert (
            engine.run({'image': image(height, 192)}, ['local'])['local'].shape[2] == height // 4
        )


def test_a_file_that_was_overwritten_is_not_opened(graph: Graph, tmp_path: Path) -> None:
    path = tmp_path / graph.path.name
    shutil.copy(graph.path, path)
    engine = OnnxRuntimeEngine(replace(graph, path=path), 1)
    path.write_bytes(b'another one')
    assert engine.run({'image': image(160, 192)}, ['local'])['local'].shape[2] == 40
    assert opened_for(engine) is None
