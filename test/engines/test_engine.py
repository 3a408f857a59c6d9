# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Engines: open, run, and say clearly what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from uhr_seg_ros.bundle import Graph, load_bundle
from uhr_seg_ros.engines.engine import EngineError
from uhr_seg_ros.engines.opening import open_engine


@pytest.fixture
def graph(tiny_bundle: Path) -> Graph:
    """Give the detail graph of the tiny bundle."""
    return load_bundle(tiny_bundle).graphs['detail']


def test_shapes_and_provenance(graph: Graph) -> None:
    engine = open_engine(graph)
    assert engine.name == 'onnxruntime'
    assert engine.input_shapes == {'image': (1, 3, None, None)}
    assert engine.output_shapes['local'] == (1, 3, None, None)
    assert set(engine.provenance()) == {'backend', 'version', 'device', 'precision'}
    assert engine.provenance()['precision'] == 'fp32'
    engine.close()


def test_gives_the_requested_outputs_only(graph: Graph) -> None:
    engine = open_engine(graph, threads=1)
    image = np.zeros((1, 3, 32, 48), np.float32)
    results = engine.run({'image': image}, ['local'])
    assert list(results) == ['local']
    assert results['local'].shape == (1, 3, 8, 12)
    assert set(engine.run({'image': image}, ['affinity', 'local'])) == {'affinity', 'local'}


def test_input_may_be_a_slice_of_a_larger_array(graph: Graph) -> None:
    engine = open_engine(graph)
    whole = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    sliced = engine.run({'image': whole[:, :, 16:48]}, ['local'])['local']
    assert (sliced == engine.run({'image': whole}, ['local'])['local'][:, :, 4:12]).all()


@pytest.mark.parametrize('content', [b'', b'no graph at all', None])
def test_corrupt_graph(graph: Graph, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / 'detail.onnx'
    path.write_bytes(graph.path.read_bytes()[:200] if content is None else content)
    with pytest.raises(EngineError, match=r'cannot open graph .*detail\.onnx: ') as caught:
        open_engine(replace(graph, path=path))
    assert '\n' not in str(caught.value)


def test_graph_without_a_promised_tensor(graph: Graph) -> None:
    with pytest.raises(EngineError, match='has no output depth, only affinity, local'):
        open_engine(replace(graph, outputs=('local', 'depth')))
    with pytest.raises(EngineError, match='has no input photo, only image'):
        open_engine(replace(graph, inputs=('photo',)))


def test_input_that_does_not_fit(graph: Graph) -> None:
    engine = open_engine(graph)
    with pytest.raises(EngineError, match=r'failed on image \(1, 4, 32, 32\)'):
        engine.run({'image': np.zeros((1, 4, 32, 32), np.float32)}, ['local'])
