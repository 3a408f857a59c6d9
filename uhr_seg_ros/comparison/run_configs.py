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

"""The training configuration of one run: written before it, compared with the plan after it."""

from __future__ import annotations

from pathlib import Path
import reprlib

import yaml

from uhr_seg_ros.comparison.plan import Variant
from uhr_seg_ros.core.atomic_io import write_text
from uhr_seg_ros.core.config_reader import read_mapping
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.recipe_keys import with_current_keys


def write_config(variant: Variant, seed: int, path: Path) -> None:
    """Write the training configuration of one run."""
    text = yaml.safe_dump(variant.config | {'seed': seed}, sort_keys=False)
    write_text(path, text)


def check_config(variant: Variant, seed: int, path: Path) -> None:
    """
    Check that a finished run was trained by the configuration that the plan has now.

    Args:
        variant: Of the plan.
        seed: Of the run.
        path: What ``write_config`` wrote before the run; a run without it is taken as it is.

    Raises:
        ConfigError: Fields differ; names them with both values.
    """
    if not path.is_file():
        return
    trained = read_mapping(path, ConfigError, 'remove its folder to train it again')
    trained = with_current_keys(trained)
    planned = variant.config | {'seed': seed}
    differ = [
        f'{name} was {reprlib.repr(trained.get(name))} and is {reprlib.repr(planned.get(name))}'
        for name in trained | planned
        if trained.get(name) != planned.get(name)
    ]
    if differ:
        msg = (
            f'{path.parent} was trained by another plan: {"; ".join(differ)}; choose another '
            '--output, or remove the folder to train it again'
        )
        raise ConfigError(msg)
