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
Run a module of this package, as `python -m` does, without the modules of the current folder.

    python uhr_seg_ros/core/child.py [--end-with PID] MODULE [ARGUMENTS]
    python uhr_seg_ros/core/child.py [--end-with PID] --exec PROGRAM [ARGUMENTS]

`python -m` imports from the current folder first, which may be one of downloaded recordings with
a `yaml.py` in it, and Python 3.10 has no option against that. This file is run by its path, and
takes the package that it lies in. With `--end-with` the process ends when its parent does; with
`--exec` it becomes another program, which then ends so, too.
"""

import sys

# The folder of a script is searched first, unless Python was told not to. Here it is that of the
# package, whose modules have common names; so before any other import.
if not getattr(sys.flags, 'safe_path', sys.flags.isolated):
    del sys.path[0]

import importlib.util  # noqa: E402
import os  # noqa: E402
import runpy  # noqa: E402
import signal  # noqa: E402

_PACKAGE = 'uhr_seg_ros'

#: Of prctl, in linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """
    Have SIGTERM sent to this process when its parent ends, however it does.

    Linux does that; elsewhere nothing is done. It is the thread that started this process whose
    end counts.
    """
    import ctypes

    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    except (AttributeError, OSError):
        return
    if os.getppid() != parent:  # it has ended before
        os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run the module that the command line names."""
    if sys.argv[1] == '--end-with':
        end_with(int(sys.argv[2]))
        del sys.argv[1:3]
    del sys.argv[0]
    if sys.argv[0] == '--exec':
        os.execv(sys.argv[1], sys.argv[1:])
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, f'{folder}/__init__.py', submodule_search_locations=[folder]
    )
    if spec is None or spec.loader is None:  # which a path that ends in .py rules out
        raise ImportError(folder)
    sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[_PACKAGE])
    runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)


if __name__ == '__main__':
    main()
