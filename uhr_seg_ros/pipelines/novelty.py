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

"""How far a frame is from those that a model knows: by the features of the semantic branch."""

from __future__ import annotations

import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.pipelines.outputs import CheckedGraphs

#: The graph that tells, and its output; not every bundle has it (`export/novelty.py` makes it).
NOVELTY = 'novelty'


def unknown_frames(bundle: Bundle, novelty: float) -> str:
    """Return a line about frames that are outside of what a bundle knows."""
    return (
        f'the frames are unlike those that bundle {bundle.name} knows (novelty {novelty:.2f}, '
        f'where 1 is the limit): its masks may be wrong anywhere'
    )


def novelty_of(graphs: CheckedGraphs, tokens: np.ndarray) -> np.ndarray:
    """
    Return how far a frame is from those that the model knows.

    Args:
        graphs: `novelty`, at least.
        tokens: (1, T, h, w) float32, of the whole frame.

    Returns:
        (1, 1) float32; above 1 the frame is outside.

    """
    return graphs.run(NOVELTY, {'tokens': tokens}, {NOVELTY: {}})[NOVELTY]
