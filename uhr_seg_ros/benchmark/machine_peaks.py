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

"""What a machine can do at most: products of matrices and copies of memory, measured."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
import time
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime as ort

#: Side of the matrices: large enough that the caches are used as well as they can be.
SIDE = 1024
#: Bytes that each thread copies: more than caches hold.
COPIED = 64 << 20
#: Of so many runs the fastest one counts.
RUNS = 5


class Peaks(NamedTuple):
    """
    What all threads together reach.

    Attributes:
        gflops: precision, `fp32` or `int8` -> 10^9 floating point operations (or those of
            integers) per second in a matrix product of ONNX Runtime; a multiply-add is two.
        copy_gb_s: 10^9 bytes per second, read and written, in a copy of memory.

    """

    gflops: dict[str, float]
    copy_gb_s: float

    def best(self, other: Peaks) -> Peaks:
        """Take the higher of two measurements: what disturbs can only slow down."""
        gflops = {name: max(value, other.gflops[name]) for name, value in self.gflops.items()}
        return Peaks(gflops, max(self.copy_gb_s, other.copy_gb_s))


def measure_peaks(threads: int) -> Peaks:
    """Measure on a number of threads; takes about a second on two cores."""
    operations = 2.0 * SIDE**3 / 1e9
    products = {'fp32': _float_product(threads), 'int8': _int8_product(threads)}
    gflops = {name: operations / _fastest(product) for name, product in products.items()}
    source = [np.ones(COPIED, np.uint8) for _ in range(threads)]
    target = [np.zeros(COPIED, np.uint8) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = _fastest(lambda: list(pool.map(np.copyto, target, source)))
    return Peaks(gflops, 2 * threads * COPIED / seconds / 1e9)


def _fastest(call: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _float_product(threads: int) -> Callable[[], object]:
    values = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    return _product('MatMul', values, values, threads)


def _int8_product(threads: int) -> Callable[[], object]:
    """Multiply unsigned by signed bytes, as int8 graphs do."""
    values = np.random.default_rng(0).integers(0, 127, (SIDE, SIDE))
    return _product('MatMulInteger', values.astype(np.uint8), values.astype(np.int8), threads)


def _product(
    operator: str, left: np.ndarray, right: np.ndarray, threads: int
) -> Callable[[], object]:
    """Return a call that multiplies by a matrix that ONNX Runtime has packed."""
    kind = helper.np_dtype_to_tensor_dtype(left.dtype)
    result = TensorProto.FLOAT if kind == TensorProto.FLOAT else TensorProto.INT32
    graph = helper.make_graph(
        [helper.make_node(operator, ['left', 'right'], ['product'])],
        operator,
        [helper.make_tensor_value_info('left', kind, left.shape)],
        [helper.make_tensor_value_info('product', result, left.shape)],
        [numpy_helper.from_array(right, 'right')],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider']
    )
    return lambda: session.run(None, {'left': left})
