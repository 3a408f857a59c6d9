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

"""How Sphinx builds the documentation: `scripts/docs`, or rosdoc2."""

from __future__ import annotations

from pathlib import Path
import re
import sys
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'uhr_seg_ros'
sys.path.insert(0, str(ROOT))

project = 'uhr_seg_ros'
author = 'uhr_seg_ros contributors'
copyright = f'2026, {author}'
version = release = re.search(r"version='([\d.]+)'", (ROOT / 'setup.py').read_text())[1]

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
source_suffix = {'.md': 'markdown', '.rst': 'restructuredtext'}
exclude_patterns = ['images', 'results/reliability']
html_theme = 'alabaster'
html_theme_options = {
    'description': 'Segmentation of 4K and 8K camera frames for ROS 2',
    'fixed_sidebar': True,
    'page_width': '1100px',
}
html_sidebars = {'**': ['about.html', 'searchfield.html', 'navigation.html']}
html_show_sourcelink = False

myst_heading_anchors = 3
# Of types that are imported for the type checker only, the first one of a name is linked.
suppress_warnings = ['ref.python']

# Not needed to read signatures and docstrings: the pages can be built without them.
autodoc_mock_imports = [
    'ament_index_python',
    'apsw',
    'backports',
    'builtin_interfaces',
    'cuda',
    'diagnostic_msgs',
    'geometry_msgs',
    'launch',
    'launch_ros',
    'lifecycle_msgs',
    'lz4',
    'matplotlib',
    'onnx',
    'onnxruntime',
    'onnxscript',
    'psutil',
    'pycuda',
    'pynvml',
    'rcl_interfaces',
    'rclpy',
    'rich',
    'rosbags',
    'rosgraph_msgs',
    'rosidl_runtime_py',
    'scipy',
    'sensor_msgs',
    'sensor_msgs_py',
    'simplejpeg',
    'std_msgs',
    'tensorrt',
    'tensorrt_rtx',
    'tf2_ros',
    'threadpoolctl',
    'torch',
    'tqdm',
    'transformers',
    'vision_msgs',
]
autodoc_default_options = {'members': True, 'member-order': 'bysource', 'show-inheritance': True}
autodoc_typehints = 'signature'
autodoc_typehints_format = 'short'
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
# A single pair of backquotes is code, as in Markdown.
default_role = 'code'


def module_name(file: Path) -> str:
    """Return the dotted name of a module of the package."""
    parts = file.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def write_rooms(_app: Any) -> None:
    """Write one page for every room of the package, with all modules of the room."""
    folder = ROOT / 'docs/api/rooms'
    folder.mkdir(exist_ok=True)
    pages = {}
    for room in sorted({file.parent for file in PACKAGE.rglob('*.py')} - {PACKAGE}):
        name = module_name(room / '__init__.py')
        title = name.partition('.')[2]
        lines = [title, '=' * len(title), '']
        for file in sorted(room.glob('*.py'), key=lambda file: (file.stem != '__init__', file)):
            if file.stem == '__main__':
                continue
            module = module_name(file)
            if file.stem != '__init__':
                lines += [file.stem, '-' * len(file.stem), '']
            lines += [f'.. automodule:: {module}', '']
        pages[f'{title}.rst'] = '\n'.join(lines)
    for stale in {file.name for file in folder.iterdir()} - pages.keys():
        (folder / stale).unlink()
    for name, text in pages.items():
        file = folder / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def plain_text(
    _app: Any, what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Keep stars, bars and colons of a docstring what they are, and its tables as they stand."""
    text, is_table = [], False
    for line in lines:
        if line.startswith('|') != is_table:
            is_table = not is_table
            text += ['::', ''] if is_table else ['']
        escaped = re.sub(
            r'(^ *[*] |`[^`]*`)|([*|])', lambda found: found[1] or f'\\{found[2]}', line
        )
        text.append(f'    {line}' if is_table else escaped)
    if what in ('attribute', 'data', 'property'):
        text[:0] = ['..', '']  # napoleon would take what stands before a colon for a type
    lines[:] = text


def skip_fields(
    _app: Any, _what: str, _name: str, obj: Any, _skip: bool, _options: Any
) -> bool | None:
    """Skip the fields of named tuples: the docstring of the class tells what they are."""
    return True if (getattr(obj, '__doc__', None) or '').startswith('Alias for field') else None


def setup(app: Any) -> None:
    """Register what is generated with Sphinx."""
    app.connect('builder-inited', write_rooms)
    app.connect('autodoc-process-docstring', plain_text, priority=400)
    app.connect('autodoc-skip-member', skip_fields)
