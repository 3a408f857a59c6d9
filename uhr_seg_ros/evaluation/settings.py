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

"""How images are segmented for an evaluation, and what was published for which data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.evaluation.fixed_share import FixedShare
from uhr_seg_ros.evaluation.tta import VIEWS
from uhr_seg_ros.pipelines.refinement.refine import METHODS, Refinement

MODES = ('whole', 'slide')
BRANCHES = ('fused', 'semantic')

#: The smallest window, px, and the range of the factor that images are scaled by.
MIN_WINDOW = 64
SCALES = (0.1, 4.0)


@dataclass(frozen=True)
class EvaluationSettings:
    """
    How images are segmented.

    Attributes:
        mode: `whole` for the image in one piece, `slide` for sliding windows.
        window: Side of a sliding window, px.
        stride: Step between windows, px.
        scale: Factor by which images are resized before; scores are resized back.
        tta: Test-time augmentation, a key of `VIEWS`.
        branch: `fused`, or `semantic` for the low-resolution branch alone.
        tile: Largest side of a tile of the detail branch, px; None as memory allows.
        detail_share: Share of the tiles that a frame budget leaves time for; None for the whole.
        against_whole: Also segment every image in one piece, to see what tiles change.
        refine: What boundaries are refined by, of `METHODS`.
        passes: Of `Refinement`.
        beta: Of `Refinement`.
    """

    mode: str = 'whole'
    window: int = 1024
    stride: int = 768
    scale: float = 1.0
    tta: str = 'none'
    branch: str = 'fused'
    tile: int | None = None
    detail_share: float | None = None
    against_whole: bool = False
    refine: str = 'none'
    passes: int = Refinement.passes
    beta: float = Refinement.beta

    def __post_init__(self) -> None:
        choices = (('mode', MODES), ('tta', VIEWS), ('branch', BRANCHES), ('refine', METHODS))
        for name, known in choices:
            if getattr(self, name) not in known:
                msg = f'{name} {getattr(self, name)!r} is unknown, known: {", ".join(known)}'
                raise ConfigError(msg)
        if self.window < MIN_WINDOW:
            msg = f'a window of {self.window} px is too small, the smallest one is {MIN_WINDOW} px'
            raise ConfigError(msg)
        if not 1 <= self.stride <= self.window:
            msg = (
                f'a stride of {self.stride} px with windows of {self.window} px: it has to be '
                f'1 to {self.window}, or pixels between the windows would get no class'
            )
            raise ConfigError(msg)
        if not SCALES[0] <= self.scale <= SCALES[1]:
            msg = f'scale {self.scale} is outside {SCALES[0]} to {SCALES[1]}'
            raise ConfigError(msg)
        self._check_branch()
        self._check_tile()
        self._check_share()
        self._check_refinement()

    @property
    def needs_logits(self) -> bool:
        """Whether a mask alone is not enough."""
        return self.mode == 'slide' or self.tta != 'none' or self.scale != 1.0

    @property
    def refinement(self) -> Refinement | None:
        """How boundaries are refined, or None."""
        return None if self.refine == 'none' else Refinement(self.passes, self.beta)

    def _check_branch(self) -> None:
        cut = self.tile or self.detail_share is not None
        if self.branch == 'semantic' and (self.needs_logits or cut):
            msg = (
                'the semantic branch alone gives a mask of the whole image: evaluate it with '
                'mode whole, scale 1, without test-time augmentation and without tiles'
            )
            raise ConfigError(msg)

    def _check_tile(self) -> None:
        if self.mode == 'slide' and self.tile:
            msg = (
                f'a tile of {self.tile} px in mode slide: tiles cut the detail branch of a whole '
                'image, windows cut the image; take one of them'
            )
            raise ConfigError(msg)
        cut = self.tile or self.detail_share is not None
        if self.against_whole and (not cut or self.needs_logits):
            msg = (
                'a comparison against the image in one piece is for tiles: mode whole with a '
                'tile or a detail share, scale 1, without test-time augmentation'
            )
            raise ConfigError(msg)

    def _check_share(self) -> None:
        if self.detail_share is None:
            return
        FixedShare(self.detail_share)  # or refuses
        if self.needs_logits or self.tile:
            msg = (
                f'a detail share of {self.detail_share:g} is for whole frames: evaluate it with '
                'mode whole, scale 1, without test-time augmentation and without a tile size'
            )
            raise ConfigError(msg)

    def _check_refinement(self) -> None:
        if self.refinement and (self.needs_logits or self.against_whole):
            msg = (
                f'refine {self.refine} is for whole masks: evaluate it with mode whole, scale 1, '
                'without test-time augmentation and without a comparison against the whole'
            )
            raise ConfigError(msg)


#: The test settings published for HLRC; every other data set is evaluated whole.
PUBLISHED: dict[str, EvaluationSettings] = {
    'cityscapes': EvaluationSettings('whole'),
    'deepglobe': EvaluationSettings('slide', window=1408, stride=1056),
    'inria': EvaluationSettings('slide', window=1280, stride=960, scale=0.8),
}


def settings_for(dataset: str, chosen: Mapping[str, Any]) -> EvaluationSettings:
    """
    Take the published settings of a data set and what was chosen otherwise.

    Args:
        dataset: Name of the data set.
        chosen: Field -> value; None leaves the published one.

    Raises:
        ConfigError: They do not fit together.
    """
    published = PUBLISHED.get(dataset, EvaluationSettings())
    wanted = {name: value for name, value in chosen.items() if value is not None}
    if wanted.get('branch') == 'semantic':
        # What the published settings say is about logits, which this branch alone has not.
        published = EvaluationSettings()
    if wanted.get('mode', published.mode) == 'whole' and {'window', 'stride'} & set(wanted):
        msg = 'window and stride are for mode slide: add --mode slide'
        raise ConfigError(msg)
    return replace(published, **wanted)
