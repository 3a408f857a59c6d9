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

"""What every section of the GPU acceptance gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools.gpu_cases import FULL, PRETEND, Scale
from tools.gpu_kit import Kit
from tools.gpu_machine import Machine


@dataclass(frozen=True)
class Setup:
    """
    What a section works with.

    Attributes:
        kit: what was prepared.
        machine: what is measured.
        scale: how much is measured.
        work: folder for what is made on the way; what lies in `files` of it is archived.
        output: folder of the results.

    """

    kit: Kit
    machine: Machine
    scale: Scale
    work: Path
    output: Path

    @property
    def files(self) -> Path:
        """Folder of pictures, logs and dumps."""
        folder = self.work / 'files'
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def open_setup(kit: Path, work: Path, output: Path, *, pretended: bool) -> Setup:
    """Open the kit on this machine, or on stand-ins."""
    if pretended:
        # Its stand-ins are those of the tests, which a robot does not have.
        from tools.gpu_pretend import PretendedMachine

        return Setup(Kit(kit), PretendedMachine(work), PRETEND, work, output)
    return Setup(Kit(kit), Machine(), FULL, work, output)
