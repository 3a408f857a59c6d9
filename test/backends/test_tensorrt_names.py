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

"""Every TensorRT name that the code uses exists in each version that we claim."""

from __future__ import annotations

import ast
from collections.abc import Iterator
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
API = json.loads((ROOT / 'test/data/tensorrt_api.json').read_text())

FILES = (
    'api.py',
    'backend.py',
    'builder.py',
    'engine.py',
    'formats.py',
    'runtime_cache.py',
    'weak_typing.py',
)

#: What the variables of our code hold. A new one has to be named here, see the last test.
CLASSES = {
    'builder': 'Builder',
    'network': 'INetworkDefinition',
    'parser': 'OnnxParser',
    'error': 'ParserError',
    'config': 'IBuilderConfig',
    'layer': 'ILayer',
    'tensor': 'ITensor',
    'result': 'ITensor',
    'runtime': 'Runtime',
    '_runtime': 'Runtime',
    'engine': 'ICudaEngine',
    '_engine': 'ICudaEngine',
    'context': 'IExecutionContext',
    '_context': 'IExecutionContext',
    'configuration': 'IRuntimeConfig',
    'compiled': 'IRuntimeCache',
    '_compiled': 'IRuntimeCache',
    'flags': 'NetworkDefinitionCreationFlag',
}
ENUMS = (
    'DataType',
    'BuilderFlag',
    'MemoryPoolType',
    'TensorIOMode',
    'ILogger',
    'LayerType',
    'ComputeCapability',
)

BEFORE_10 = ('8.5.3.1', '8.6.0')
ONLY_10 = ('10.3.0', '10.13.3.9.post1', '10.16.1.11')
NOT_BEFORE_10 = tuple(version for version in API if version not in BEFORE_10)
ONLY_RTX = tuple(version for version in API if version.startswith('rtx'))

#: Names that are used behind a test of the version, and the versions that get there.
GUARDED = {
    ('NetworkDefinitionCreationFlag', 'EXPLICIT_BATCH'): BEFORE_10,
    ('NetworkDefinitionCreationFlag', 'STRONGLY_TYPED'): ONLY_10,
    ('BuilderFlag', 'FP16'): BEFORE_10,
    ('BuilderFlag', 'INT8'): BEFORE_10,
    ('BuilderFlag', 'OBEY_PRECISION_CONSTRAINTS'): BEFORE_10,
    ('ILayer', 'precision'): BEFORE_10,
    ('ILayer', 'set_output_type'): BEFORE_10,
    ('ParserError', 'node_name'): NOT_BEFORE_10,
    ('ParserError', 'node_operator'): NOT_BEFORE_10,
    ('IBuilderConfig', 'progress_monitor'): NOT_BEFORE_10,
    ('module', 'IProgressMonitor'): NOT_BEFORE_10,
    ('module', 'ComputeCapability'): ONLY_RTX,
    ('IBuilderConfig', 'num_compute_capabilities'): ONLY_RTX,
    ('IBuilderConfig', 'set_compute_capability'): ONLY_RTX,
    ('BuilderFlag', 'REQUIRE_USER_ALLOCATION'): ONLY_RTX,
    ('ICudaEngine', 'create_runtime_config'): ONLY_RTX,
    ('IRuntimeConfig', 'create_runtime_cache'): ONLY_RTX,
    ('IRuntimeConfig', 'set_runtime_cache'): ONLY_RTX,
    ('IRuntimeCache', 'deserialize'): ONLY_RTX,
    ('IRuntimeCache', 'serialize'): ONLY_RTX,
    ('IExecutionContext', 'is_stream_capturable'): ONLY_RTX,
}


def used_names() -> Iterator[tuple[str, str]]:
    """List (class, name) of every TensorRT name in the sources."""
    for file in FILES:
        tree = ast.parse((ROOT / 'uhr_seg_ros/backends/tensorrt' / file).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and not node.attr.startswith('__'):
                owner = _name_of(node.value)
                if owner in CLASSES:
                    yield CLASSES[owner], node.attr
                elif owner in ENUMS:
                    yield owner, node.attr
                elif owner in ('trt', 'module') and node.attr in _all_classes():
                    yield 'module', node.attr


def _name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ''


def _all_classes() -> set[str]:
    return {name for version in API.values() for name in version}


@pytest.mark.parametrize('version', list(API))
def test_names_exist(version: str) -> None:
    api = API[version]
    missing = [
        f'{owner}.{name}'
        for owner, name in set(used_names())
        if version in GUARDED.get((owner, name), (version,))
        and name not in (api if owner == 'module' else api[owner])
    ]
    assert not missing


def test_the_search_finds_the_names() -> None:
    names = set(used_names())
    assert ('IExecutionContext', 'execute_async_v3') in names
    assert ('IBuilderConfig', 'set_memory_pool_limit') in names
    assert ('module', 'OnnxParser') in names
    assert len(names) > 30
    assert set(GUARDED) <= names


def test_no_name_that_a_version_lacks_is_used_unguarded() -> None:
    """The names of the old interface would be found."""
    assert 'execute_async_v2' not in API['10.3.0']['IExecutionContext']
    assert not {name for _, name in used_names()} & {
        'num_bindings',
        'max_workspace_size',
        'build_engine',
        'execute_async_v2',
        'int8_calibrator',
    }


def test_list_is_the_reference() -> None:
    reference = ROOT.parent / 'shared/reference/tensorrt-api.json'
    if not reference.is_file():
        pytest.skip('../shared is not there')
    complete = json.loads(reference.read_text())
    assert set(API) == set(complete)
    for version, classes in API.items():
        for name, members in classes.items():
            assert set(members) <= set(complete[version][name])
