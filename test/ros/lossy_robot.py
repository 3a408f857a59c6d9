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
The robot's side of a lossy link: the node, and who receives its masks.

Prints `ready`, then at the end of its input the arrivals of the masks and the node's counters.
"""

from __future__ import annotations

import json
from pathlib import Path
import sys
import time

import rclpy

from uhr_seg_ros.replay.collector import Collector
from uhr_seg_ros.replay.node_process import NodeProcess


def main() -> None:
    """Run until the input ends."""
    folder, parameters = Path(sys.argv[1]), json.loads(sys.argv[2])
    rclpy.init()
    with Collector() as collector, NodeProcess(parameters, folder) as node:
        while collector.report.value('state') != 'active':
            assert node.is_running(), node.last_lines()
            time.sleep(0.05)
        print('ready', flush=True)
        sys.stdin.read()
        number = collector.report.number
        while collector.report.number < number + 3 or collector.report.count('pending'):
            time.sleep(0.05)
        names = ('received', 'processed', 'dropped', 'rejected')
        counts = {name: collector.report.count(name) for name in names}
        print(json.dumps({'arrivals': collector.arrivals, 'counts': counts}), flush=True)
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
