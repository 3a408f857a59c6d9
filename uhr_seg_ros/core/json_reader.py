# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""JSON to plain values, as strictly as YAML."""

from __future__ import annotations

import json
from typing import Any

from uhr_seg_ros.core.text import one_line, shown
from uhr_seg_ros.core.yaml_reader import checked_text, MAX_DIGITS, MAX_LEVELS, ValueFault


def load_json(text: str) -> Any:
    """
    Read one JSON document; `NaN` and `Infinity` are numbers, as Python writes them.

    Raises:
        ValueFault: no JSON, repeated keys, or nesting and numbers without end.

    """
    try:
        content = json.loads(
            text, object_pairs_hook=_mapping, parse_int=_whole_number, parse_float=_number
        )
    except RecursionError as err:
        raise ValueFault(_TOO_DEEP) from err
    except json.JSONDecodeError as err:
        msg = f'line {err.lineno}: {one_line(err.msg, 200)}'
        raise ValueFault(msg) from err
    _check(content)
    return content


_TOO_DEEP = f'nested deeper than {MAX_LEVELS} levels'


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                msg = f'{shown(key)} is there twice in one mapping: keep one'
                raise ValueFault(msg)
            seen.add(key)
    return result


def _whole_number(text: str) -> int:
    return int(_short(text))


def _number(text: str) -> float:
    return float(_short(text))


def _short(text: str) -> str:
    if len(text) > MAX_DIGITS:
        msg = f'a number of {len(text)} characters, at most {MAX_DIGITS} are read'
        raise ValueFault(msg)
    return text


def _check(content: Any) -> None:
    """Check texts and depth, without recursion."""
    waiting = [(content, 0)]
    while waiting:
        value, level = waiting.pop()
        if isinstance(value, str):
            checked_text(value)
        elif isinstance(value, (list, dict)):
            if level >= MAX_LEVELS:
                raise ValueFault(_TOO_DEEP)
            inner = value if isinstance(value, list) else [*value, *value.values()]
            waiting += [(each, level + 1) for each in inner]
