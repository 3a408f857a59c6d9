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

"""The domain of a model: how the cameras look that it is for, and what it was trained on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from uhr_seg_ros.core.config_reader import Fields, is_finite, MAX_NAME, name_fault, quoting_hint
from uhr_seg_ros.core.text import shortened, shown

#: How a camera may look: straight down, down at an angle, along the ground as from a vehicle (to
#: any side), or none of these, such as indoors.
VIEWS = ('nadir', 'oblique', 'forward', 'other')

#: In place of a view of the camera: nobody says it, so no bundle is the wrong one.
ANY = 'any'

#: What may be told of a camera.
CAMERA_VIEWS = (ANY, *VIEWS)

#: So many times finer or coarser than what a model is for is plainly outside: an octave.
PLAINLY = 2.0

#: Coarsest ground resolution that is taken, m per px.
COARSEST = 10_000.0

#: So many keys of one's own a domain may have, and so many things may be named as never shown.
MAX_NOTES = 16

#: Longest line about a domain, characters.
MAX_LINE = 500

#: What generated scenes are called among the images of a training.
SCENES = 'generated scenes'

_FIELDS = ('view', 'ground_resolution', 'trained_on', 'region', 'season', 'never_shown')

#: A key of one's own that is as alike as this to one of `_FIELDS` is taken for a misspelled one.
_ALIKE = 0.8


@dataclass(frozen=True)
class Domain:
    """
    What a model is for; empty where nobody says it.

    Attributes:
        views: of `VIEWS`: how the cameras look; empty: unknown.
        ground_resolution: finest and coarsest size of a pixel on the ground, m; None where it is
            unknown, or differs from pixel to pixel.
        trained_on: images that it was trained on, in words.
        region: where on Earth these were taken, in words.
        season: when in the year, in words.
        never_shown: what was not among them, such as `night` and `snow`.
        notes: what else is worth telling, by keys of the one who tells it.

    """

    views: tuple[str, ...] = ()
    ground_resolution: tuple[float, float] | None = None
    trained_on: str = ''
    region: str = ''
    season: str = ''
    never_shown: tuple[str, ...] = ()
    notes: dict[str, str | float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return it in one line, such as `nadir, 0.3 to 1 m/px, trained on mosaics of Dubai`."""
        if self == Domain():
            return 'unknown'
        parts = [' and '.join(self.views) or 'view unknown']
        if self.ground_resolution:
            finest, coarsest = self.ground_resolution
            upto = '' if finest == coarsest else f' to {coarsest:g}'
            parts.append(f'{finest:g}{upto} m/px')
        if self.trained_on:
            parts.append(f'trained on {self.trained_on}')
        parts += [
            f'{key} {value}'
            for key, value in (('region', self.region), ('season', self.season))
            if value
        ]
        if self.never_shown:
            parts.append(f'never shown {" or ".join(self.never_shown)}')
        parts += [f'{key}: {value}' for key, value in self.notes.items()]
        return shortened(', '.join(parts), MAX_LINE)

    def plain(self) -> dict[str, Any]:
        """Return plain values as model.yaml has them; empty where nothing is known."""
        found: dict[str, Any] = {}
        if self.views:
            found['view'] = _one_or_list(self.views)
        if self.ground_resolution:
            finest, coarsest = self.ground_resolution
            found['ground_resolution'] = finest if finest == coarsest else [finest, coarsest]
        texts = {'trained_on': self.trained_on, 'region': self.region, 'season': self.season}
        found |= {key: text for key, text in texts.items() if text}
        if self.never_shown:
            found['never_shown'] = _one_or_list(self.never_shown)
        return found | self.notes

    @property
    def advice(self) -> str:
        """How to say what is missing, to follow the line; empty where nothing has to be said."""
        return '' if self.views else ': say it under domain in model.yaml (docs/bundle.md)'

    def with_scenes(self) -> Domain:
        """Return it for a training that saw generated scenes beside its images."""
        return replace(self, trained_on=_joined(self.trained_on, SCENES))

    def with_images_of(self, other: Domain) -> Domain:
        """Return it for a training that saw the images of another data set too."""
        resolutions = [each.ground_resolution for each in (self, other) if each.ground_resolution]
        text = f'{other.trained_on} {other.region}'.casefold()
        return replace(
            self,
            views=tuple(dict.fromkeys(self.views + other.views)),
            ground_resolution=(
                (min(low for low, _ in resolutions), max(high for _, high in resolutions))
                if len(resolutions) == 2
                else None  # that of the one is unknown
            ),
            trained_on=_joined(self.trained_on, other.trained_on),
            region=_joined(self.region, other.region),
            season=_joined(self.season, other.season),
            never_shown=tuple(each for each in self.never_shown if each.casefold() not in text),
        )

    def misfit(self, name: str, camera_view: str) -> str:
        """
        Return why a bundle does not fit to how the cameras look.

        Args:
            name: of the bundle.
            camera_view: of `CAMERA_VIEWS`.

        Returns:
            One line with both and the way out; empty where they fit, or one is unknown.

        """
        if camera_view == ANY or not self.views or camera_view in self.views:
            return ''
        return (
            f'camera_view is {camera_view}, and bundle {name} is for other views ({self}): do not '
            f'rely on its masks and labelled points. Give a bundle for {camera_view} views '
            f'(docs/bundle.md, Domain), or correct camera_view; {ANY} ends this warning'
        )

    def scale_misfit(self, name: str, ground_resolution: float) -> str:
        """
        Return why a bundle does not fit to how large a pixel is on the ground.

        Args:
            name: of the bundle.
            ground_resolution: m per px.

        Returns:
            One line with both and the way out; empty where it fits or is not plainly outside.

        """
        if self.ground_resolution is None:
            return ''
        finest, coarsest = self.ground_resolution
        if finest / PLAINLY <= ground_resolution <= coarsest * PLAINLY:
            return ''
        way = 'higher, or reduce' if ground_resolution < finest else 'lower, or enlarge'
        return (
            f'a pixel shows {ground_resolution:.3g} m of the ground, and bundle {name} is for '
            f'{finest:g} to {coarsest:g} m: fly {way} the frames'
        )


def _joined(first: str, second: str) -> str:
    """Return two texts as one that a bundle may hold, the first shortened where it must be."""
    return ', '.join(filter(None, (shortened(first, MAX_NAME - len(second) - 2), second)))


#: Data set -> its domain, as its publishers describe it, or as looking at it shows.
DOMAINS = {
    'cityscapes': Domain(
        ('forward',),
        trained_on='Cityscapes, streets of German and nearby cities from a car',
        region='Germany, Zurich, Strasbourg',
        season='spring to autumn',
        never_shown=('night', 'heavy rain', 'snow'),
    ),
    'inria': Domain(
        ('nadir',),
        (0.3, 0.3),
        'Inria Aerial, towns in the USA and Austria',
        region='Austin, Chicago, Kitsap County, Vienna, Tyrol',
    ),
    'deepglobe': Domain(
        ('nadir',),
        (0.5, 0.5),
        'DeepGlobe, satellite images of rural Thailand, Indonesia, India',
        region='Thailand, Indonesia, India',
    ),
    'aerial': Domain(
        ('nadir',),
        (0.3, 1.0),
        'mosaics of Dubai (MBRSC, Humans in the Loop)',
        region='Dubai, coast and desert',
        never_shown=('farmland', 'night', 'snow', 'oblique views'),
    ),
    'fields': Domain(
        ('nadir',),
        (5.0, 5.0),
        'farmland in North Dakota (NAIP of the USDA)',
        region='North Dakota',
        season='summer',
    ),
    'street': Domain(
        ('forward',),
        trained_on='CamVid, streets of Cambridge from a car',
        region='Cambridge, England',
        never_shown=('night', 'snow'),
    ),
}


def read_domain(fields: Fields) -> Domain:
    """
    Read the optional field `domain`.

    Returns:
        What it says; an empty one where there is none.

    Raises:
        UhrSegError: of the class that `fields` raises; names the field, the value and what was
            expected.

    """
    content = fields.value('domain')
    if content is None:
        return Domain()
    if not isinstance(content, dict):
        text = f'field domain is {shown(content)}, expected a mapping, such as {{view: nadir}}'
        raise fields.error(text)
    return Domain(
        _read_views(fields, content.get('view')),
        _read_resolution(fields, content.get('ground_resolution')),
        fields.name('domain.trained_on') if fields.has('domain.trained_on') else '',
        _read_text(fields, 'region', content.get('region')),
        _read_text(fields, 'season', content.get('season')),
        _read_never_shown(fields, content.get('never_shown')),
        _read_notes(fields, {key: content[key] for key in content if key not in _FIELDS}),
    )


def _read_views(fields: Fields, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    views = value if isinstance(value, list) else [value]
    known = [view for view in views if isinstance(view, str) and view in VIEWS]
    if not views or known != views or len(set(known)) < len(known):
        raise fields.error(
            f'field domain.view is {shown(value)}, expected one of {", ".join(VIEWS)}, or a '
            'list with each of them at most once'
        )
    return tuple(known)


def _read_resolution(fields: Fields, value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    both = value if isinstance(value, list) else [value, value]
    sound = len(both) == 2 and all(is_finite(each) and 0 < each <= COARSEST for each in both)
    if not sound or both[0] > both[1]:
        raise fields.error(
            f'field domain.ground_resolution is {shown(value)}, expected m per px, above zero and '
            f'at most {COARSEST:g}: one number, or the finest and the coarsest, such as [0.3, 1.0]'
        )
    return float(both[0]), float(both[1])


def _read_text(fields: Fields, key: str, value: Any) -> str:
    if value is None:
        return ''
    if is_finite(value):  # a month, or a year
        return f'{value:g}'
    if fault := _text_fault(value):
        raise fields.error(f'field domain.{key} is {shown(value)}, expected {fault}')
    return str(value)


def _read_never_shown(fields: Fields, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    found = value if isinstance(value, list) else [value]
    if not 0 < len(found) <= MAX_NOTES or any(_text_fault(each) for each in found):
        raise fields.error(
            f'field domain.never_shown is {shown(value)}, expected a text, or a list of up to '
            f'{MAX_NOTES}, such as [night, snow]'
        )
    return tuple(found)


def _read_notes(fields: Fields, notes: dict[Any, Any]) -> dict[str, str | float]:
    if len(notes) > MAX_NOTES:
        text = f'field domain has {len(notes)} keys of its own, expected at most {MAX_NOTES}'
        raise fields.error(text)
    for key, value in notes.items():
        if fault := _text_fault(key):
            raise fields.error(f'field domain has the key {shown(key)}, expected {fault}')
        if meant := get_close_matches(key, _FIELDS, 1, _ALIKE):
            text = f'field domain has the key {shown(key)}: {meant[0]} is what is read; a key of '
            raise fields.error(text + 'your own has a name that is less alike')
        fault = '' if is_finite(value) else _text_fault(value)
        if fault:
            raise fields.error(f'field domain.{key} is {shown(value)}, expected {fault}')
    return notes


def _text_fault(value: object) -> str:
    if isinstance(value, str):
        return name_fault(value)
    return f'a text{quoting_hint(value)}'


def _one_or_list(values: tuple[str, ...]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
