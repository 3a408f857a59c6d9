# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What flows through a graph: the values of its inner tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper
import onnxruntime as ort

from uhr_seg_ros.core.errors import EngineError
from uhr_seg_ros.core.text import one_line

Feeds = Mapping[str, np.ndarray]


class ActivationObserver:
    """
    Run a graph and look at some of its tensors.

    Args:
        model: float32.
        names: of inputs, inner tensors and outputs.

    """

    def __init__(self, model: onnx.ModelProto, names: Sequence[str]) -> None:
        self._name, self._names = model.graph.name, names
        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        known = {info.name for info in (*model.graph.input, *model.graph.output)}
        watched.graph.output.extend(
            helper.make_empty_tensor_value_info(name) for name in names if name not in known
        )
        options = ort.SessionOptions()
        options.log_severity_level = 3  # warnings repeat what the raised error says
        self._session = ort.InferenceSession(
            watched.SerializeToString(), options, providers=['CPUExecutionProvider']
        )

    def values(self, feed: Feeds) -> dict[str, np.ndarray]:
        """
        Return the tensors for one input.

        Raises:
            EngineError: the graph cannot take it.

        """
        wanted = [name for name in self._names if name not in feed]
        try:
            found = dict(zip(wanted, self._session.run(wanted, dict(feed)), strict=True))
        except Exception as err:  # the classes of ONNX Runtime have no common base
            msg = f'graph {self._name} cannot be calibrated: {one_line(err)}'
            raise EngineError(msg) from err
        return {name: found[name] if name in found else feed[name] for name in self._names}
