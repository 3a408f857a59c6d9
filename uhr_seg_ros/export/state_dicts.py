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
From the content of a checkpoint to its tensors by name.

Nothing is chosen silently between unlike things, and only what a network can hold gets through:
dense, finite tensors of float32 or int64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import logging
from pathlib import Path
import re
import reprlib
from typing import Any

import torch

from uhr_seg_ros.core.errors import CheckpointError

logger = logging.getLogger(__name__)

#: Keys that the weights of a network are saved under, the preferred one first.
WRAPPERS = ('state_dict', 'model')
#: Precisions that weights are kept in; they become float32.
CONVERTED = (torch.float16, torch.bfloat16, torch.float64)
COUNTERS = (torch.int64, torch.int32)
#: Names listed in a text.
LISTED = 4

Tensors = dict[str, torch.Tensor]


def tensors_of(content: Any, path: str | Path) -> Tensors:
    """
    Return the tensors of a checkpoint, bare or wrapped in ``state_dict`` or ``model``.

    Args:
        content: What ``load_plain`` gave.
        path: Its file, for texts.

    Returns:
        Tensors by name without what wrappers of modules put before it, float32 or int64.

    Raises:
        CheckpointError: No tensors; several sets of them with nothing to choose by; a name that
            is there twice; or as ``plain_tensors``.
    """
    state = _state_dict(content, path)
    tensors = {
        name: value
        for name, value in state.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }
    return plain_tensors(_without_prefixes(tensors, path), path)


def plain_tensors(
    tensors: Mapping[str, torch.Tensor],
    path: str | Path,
) -> Tensors:
    """
    Check that a network can hold tensors, and convert those of another precision.

    Args:
        tensors: By name.
        path: Their file, for texts.

    Raises:
        CheckpointError: A tensor is sparse, quantized, nested, without values, of another kind
            of numbers, overlaps itself, or is not finite; names it, and the way out.
    """
    found: Tensors = {}
    converted: dict[str, int] = {}
    for name, value in tensors.items():
        if (flaw := _flaw(value)) is not None:
            msg = f'{path}: tensor {name} {flaw}'
            raise CheckpointError(msg)
        plain = value.detach().to(torch.float32 if value.is_floating_point() else torch.int64)
        if bad := int((~torch.isfinite(plain)).sum()):
            msg = (
                f'{path}: tensor {name} is not finite as float32 in {bad} of {plain.numel()} '
                'values: its training broke before it was saved, take an earlier checkpoint'
            )
            raise CheckpointError(msg)
        if value.dtype in CONVERTED:
            converted[_title(value)] = converted.get(_title(value), 0) + 1
        found[name] = plain
    for title, count in converted.items():
        logger.info('%s: %d tensors of %s are converted to float32', path, count, title)
    return found


def renamed(
    tensors: Mapping[str, torch.Tensor], rename: Callable[[str], str], path: str | Path
) -> Tensors:
    """
    Rename tensors.

    Args:
        tensors: By name.
        rename: Old name -> new name.
        path: Their file, for texts.

    Raises:
        CheckpointError: Two tensors get the same name; names both.
    """
    found: Tensors = {}
    before: dict[str, str] = {}
    for name, value in tensors.items():
        new = rename(name)
        if new in found:
            msg = f'{path} holds {new} twice, as {before[new]} and as {name}: save one of them'
            raise CheckpointError(msg)
        found[new], before[new] = value, name
    return found


def _state_dict(content: Any, path: str | Path) -> Mapping[Any, Any]:
    """Find the mapping that holds the tensors."""
    if not isinstance(content, Mapping) or not content:
        msg = f'checkpoint {path} does not hold a state dict but {type(content).__name__}'
        raise CheckpointError(msg)
    inside = [key for key, value in content.items() if isinstance(key, str) and _holds(value)]
    bare = [key for key, value in content.items() if _is_named_tensor(key, value)]
    known = [key for key in WRAPPERS if key in inside]
    if not known and bare:
        _log_left(path, 'its own level', inside)
        return content
    if not inside:
        msg = f'checkpoint {path} does not hold tensors by name'
        raise CheckpointError(msg)
    if not known and len(inside) > 1:
        msg = (
            f'checkpoint {path} holds weights under {_some(inside)}, and none of them is called '
            f'{" or ".join(WRAPPERS)}: save the right ones alone, as {{"state_dict": ...}}'
        )
        raise CheckpointError(msg)
    chosen = (known or inside)[0]
    left = [key for key in inside if key != chosen]
    left += [key for key in bare if content[key].ndim]  # a tensor of one number counts something
    _log_left(path, repr(chosen), left)
    return _state_dict(content[chosen], path)


def _log_left(path: str | Path, taken: str, left: list[str]) -> None:
    if left:
        text = '%s: weights under %s are taken, those under %s are left out'
        logger.info(text, path, taken, _some(left))


def _is_named_tensor(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, torch.Tensor)


def _holds(value: object, depth: int = 3) -> bool:
    """Tell if a mapping holds tensors by name, in itself or in what it wraps."""
    if not isinstance(value, Mapping) or not depth:
        return False
    if any(_is_named_tensor(key, inner) for key, inner in value.items()):
        return True
    return any(_holds(value.get(key), depth - 1) for key in WRAPPERS)


def _without_prefixes(tensors: Tensors, path: str | Path) -> Tensors:
    """Take off what DataParallel, torch.compile and Lightning put before the names."""
    while True:
        before = list(tensors)
        tensors = renamed(tensors, _without_wrapper, path)
        # Part of a larger module, such as one with its loss: not ours to take apart.
        if tensors and all(name.startswith('model.') for name in tensors):
            tensors = renamed(tensors, lambda name: name.removeprefix('model.'), path)
        if list(tensors) == before:
            return tensors


def _without_wrapper(name: str) -> str:
    return re.sub(r'(?<![^.])_orig_mod\.', '', name).removeprefix('module.')


def _flaw(tensor: torch.Tensor) -> str | None:
    """Return what keeps a tensor out of a network, and the way out."""
    title = _title(tensor)
    if tensor.is_nested:
        return 'is nested: a weight has one shape, save it as such'
    if tensor.is_quantized:
        return f'is quantized ({title}): give the checkpoint from before it was quantized'
    if tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix('torch.')
        return f'is sparse ({layout}): save it as tensor.to_dense()'
    if tensor.device.type != 'cpu':
        return f'is on the device {tensor.device.type}, without values: save it from a CPU or GPU'
    if tensor.dtype not in (torch.float32, *CONVERTED, *COUNTERS):
        return (
            f'is {title}: expected weights of float32 (or float16, bfloat16, float64) and '
            'counters of int64; give the checkpoint from before it was converted'
        )
    if _overlaps(tensor.shape, tensor.stride()):
        return (
            f'overlaps itself, with the shape {tuple(tensor.shape)} and the strides '
            f'{tensor.stride()}: save it as tensor.clone(memory_format=torch.contiguous_format)'
        )
    return None


def _overlaps(shape: Iterable[int], strides: Iterable[int]) -> bool:
    """Tell if two elements may share memory; an expanded tensor may be larger than any memory."""
    reach = 0
    for stride, length in sorted(zip(strides, shape, strict=True)):
        if length > 1:
            if stride <= reach:
                return True
            reach += stride * (length - 1)
    return False


def _title(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix('torch.')


def _some(names: list[str]) -> str:
    rest = len(names) - LISTED
    shown = ', '.join(reprlib.repr(name) for name in names[:LISTED])
    return shown + (f' and {rest} more' if rest > 0 else '')
