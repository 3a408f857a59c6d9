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
The one check of what graphs give, whatever the kind of bundle and the back end.

Wrong values look like values: logits that are not a number give class 0, those of another layout
a mask that looks right. So nothing reaches a mask but what is of the type and form that the kind
promises, as many classes as model.yaml names, and finite.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from uhr_seg_ros.backends.engine import Engine, Shape
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.classes import MAX_UINT8_CLASSES
from uhr_seg_ros.core.errors import EngineError

#: Name of an axis -> its length, as far as a frame decides about it.
Sizes = Mapping[str, int]

_PLANES = ('rows', 'columns')
_CLASSES = (1, 'classes', *_PLANES)

#: Tensor -> its axes; names stand for lengths that vary. Those that are not here, the contexts of
#: patches, have a form of their own.
_AXES: dict[str, tuple[int | str, ...]] = {
    'tokens': (1, 'channels', *_PLANES),
    'affinity': (1, *_PLANES, 'channels'),
    'local': (1, 'channels', *_PLANES),
    'mask': (1, *_PLANES),
    'confidence': (1, *_PLANES),
    'grid': (1, *_PLANES, 2),
    'detail_gain': (1, 1, *_PLANES),
    'novelty': (1, 1),
    **dict.fromkeys(('semantic_logits', 'logits', 'quarter_logits', 'probabilities'), _CLASSES),
}

_TYPES = {'mask': ('uint8', 'int32'), 'confidence': ('uint8',)}

_REEXPORT_HINT = 'export the model again'


class NotFiniteError(EngineError):
    """A graph gave NaN or infinity."""


class OutputCheck:
    """
    Checks the outputs of a bundle's graphs.

    Args:
        bundle: tells the kind and the classes.

    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def declared(
        self, graph: str, shapes: Mapping[str, Shape], sizes: Mapping[str, Sizes] | None = None
    ) -> None:
        """
        Check what a graph says of its outputs, before it runs.

        Args:
            graph: its name in the bundle.
            shapes: tensor name -> shape; a length that is only known at run time is None, and
                a shape of no axes says nothing.
            sizes: tensor name -> lengths of its axes that are known already.

        Raises:
            EngineError: a shape is not what is expected.

        """
        for name in self._bundle.graphs[graph].outputs:
            shape = tuple(shapes[name])
            expected = self._expected(name, (sizes or {}).get(name, {}))
            if shape and expected and not _fits(shape, expected):
                raise self._wrong(graph, name, f'shape {_shown(shape)}', expected)

    def found(self, graph: str, name: str, values: object, sizes: Sizes) -> None:
        """
        Check what a graph has given; costs one pass over it.

        Args:
            graph: its name in the bundle.
            name: of the tensor.
            values: what the back end gave.
            sizes: lengths of its axes as far as they are known.

        Raises:
            EngineError: another type or shape, NaN or infinity, or an id that no class has.

        """
        expected = self._expected(name, sizes)
        types = _TYPES.get(name, ('float32',))
        if not isinstance(values, np.ndarray) or values.dtype.name not in types:
            what = getattr(values, 'dtype', type(values).__name__)
            raise self._wrong(graph, name, f'{what} {getattr(values, "shape", "")}', expected)
        if not values.size or (expected and not _fits(values.shape, expected)):
            raise self._wrong(graph, name, f'shape {values.shape}', expected)
        if name == 'mask':
            self._check_ids(graph, values)
        elif values.dtype.kind == 'f' and not is_finite(values):
            raise self.not_finite(graph, name, values)

    def found_of(self, graph: str, name: str, values: np.ndarray, seen: tuple[int, int]) -> None:
        """
        Check that logits of any stride have the proportions of what their network saw.

        Args:
            graph: its name in the bundle.
            name: of the tensor.
            values: (..., rows, columns).
            seen: height and width of the network's input, px.

        Raises:
            EngineError: no stride gives as many rows and columns, as when they are swapped.

        """
        (rows, columns), (height, width) = values.shape[-2:], seen
        # A stride that gives so many rows, and one that gives so many columns, rounded any way.
        if height * (columns - 1) < width * (rows + 1) and width * (rows - 1) < height * (
            columns + 1
        ):
            return
        msg = (
            f'bundle {self._bundle.path}: graph {graph} gives {name} of {columns} x {rows} for a '
            f'picture of {width} x {height} px, which no stride makes of it (are rows and columns '
            f'swapped?): {_REEXPORT_HINT}'
        )
        raise EngineError(msg)

    def not_finite(
        self, graph: str, name: str, values: np.ndarray | None = None
    ) -> NotFiniteError:
        """Return the error for NaN or infinity."""
        where = ''
        if values is not None:
            bad = values[~np.isfinite(values)]
            where = f' ({bad[0]} and the like in {bad.size} of {values.size})'
        return NotFiniteError(
            f'bundle {self._bundle.path}: graph {graph} gives {name} that are not '
            f'finite{where}: use precision fp32; if that does not help, the weights are broken: '
            'export another checkpoint'
        )

    def _expected(self, name: str, sizes: Sizes) -> tuple[int | str, ...] | None:
        axes = _AXES.get(name)
        if axes is None:
            return None
        if batch := self._bundle.kind.axis_name(name, 0):
            axes = (batch, *axes[1:])
        known = {'classes': len(self._bundle.classes), **sizes}
        return tuple(axis if isinstance(axis, int) else known.get(axis, axis) for axis in axes)

    def _check_ids(self, graph: str, mask: np.ndarray) -> None:
        """Refuse ids that no class has, or that the type of the mask cannot hold."""
        count = len(self._bundle.classes)
        small = mask.dtype == np.uint8 and count > MAX_UINT8_CLASSES
        if small or mask.max() >= count or (mask.dtype != np.uint8 and mask.min() < 0):
            msg = (
                f'bundle {self._bundle.path} names {count} classes, its graph {graph} gives ids '
                f'from {mask.min()} to {mask.max()} as {mask.dtype}: {_REEXPORT_HINT}'
            )
            raise EngineError(msg)

    def _wrong(
        self, graph: str, name: str, what: str, expected: tuple[int | str, ...] | None
    ) -> EngineError:
        types = ' or '.join(_TYPES.get(name, ('float32',)))
        form = f'{types} {_shown(expected)}' if expected else f'{types} with values'
        return EngineError(
            f'bundle {self._bundle.path}: graph {graph} gives {name} of {what}, expected {form}, '
            f'as model.yaml names {len(self._bundle.classes)} classes: {_REEXPORT_HINT}'
        )


class CheckedGraphs:
    """
    Runs the graphs of a bundle, and gives nothing that was not checked.

    Args:
        bundle: whose graphs they are.
        engines: graph name -> engine; closed with this.
        sizes: graph name -> tensor name -> lengths of its axes that are known already.

    Raises:
        EngineError: a graph says of itself that it gives something else than is expected.

    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        sizes: Mapping[str, Mapping[str, Sizes]] | None = None,
    ) -> None:
        self._engines = dict(engines)
        self.check = OutputCheck(bundle)
        for name, engine in engines.items():
            self.check.declared(name, engine.output_shapes, (sizes or {}).get(name))

    def __getitem__(self, graph: str) -> Engine:
        return self._engines[graph]

    def run(
        self, graph: str, feeds: Mapping[str, np.ndarray], wanted: Mapping[str, Sizes]
    ) -> dict[str, np.ndarray]:
        """
        Run a graph once.

        Args:
            graph: its name in the bundle.
            feeds: every input by name.
            wanted: name of an output -> lengths of its axes as far as they are known.

        Raises:
            EngineError: an output is not what is expected.
            EngineError: an input does not fit, or the back end failed.

        """
        outputs = self._engines[graph].run(feeds, list(wanted))
        for name, sizes in wanted.items():
            self.check.found(graph, name, outputs[name], sizes)
        return outputs

    def keep_memory(self, keeps: bool) -> None:
        """Choose whether runs leave their memory to those to come."""
        for engine in self._engines.values():
            engine.keeps_memory = keeps

    def forget(self, graph: str) -> None:
        """Give back what earlier runs of a graph took."""
        self._engines[graph].forget()

    def close(self) -> None:
        """Free the memory of the engines."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()


def is_finite(values: np.ndarray) -> bool:
    """Return whether an array of floats has neither NaN nor infinity."""
    # A finite sum has finite parts; the sum alone may overflow, too.
    with np.errstate(invalid='ignore', over='ignore'):
        total = values.sum()
    return bool(np.isfinite(total) or np.isfinite(values).all())


def lengths(rows: int, columns: int) -> dict[str, int]:
    """Return the lengths of the axes of a map."""
    return {'rows': rows, 'columns': columns}


def _fits(shape: tuple[int | None, ...], expected: tuple[int | str, ...]) -> bool:
    """Compare a shape; what is None, or expected to have any length, fits unless it is empty."""
    return len(shape) == len(expected) and all(
        found is None or found == wanted or (isinstance(wanted, str) and found > 0)
        for found, wanted in zip(shape, expected, strict=True)
    )


def _shown(shape: tuple[int | str | None, ...] | None) -> str:
    """Write a shape such as (1, 3, rows, columns)."""
    each = ['any' if length is None else str(length) for length in shape or ()]
    return f'({", ".join(each)})'
