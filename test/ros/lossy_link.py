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
Two machines, in one: network namespaces joined by a cable that loses packets.

`tc netem` would do the losing where the kernel has it; this needs only /dev/net/tun and root.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
import fcntl
import os
import random
import select
import struct
import subprocess
from threading import Thread

_TUNSETIFF = 0x400454CA
# Without Ethernet: a neighbour that was not heard for a while is asked for once a second (ARP),
# so the kernel would go on losing frames after the fault.
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MTU = 9000
_LARGEST_PACKET = 1 << 16


class LossyLink:
    """
    Joins the sides 'left' and 'right'.

    Attributes:
        loss: share of the packets that are lost, from 0 to 1; may change at any time.

    Raises:
        OSError: there is no /dev/net/tun, or this is not root.
        subprocess.CalledProcessError: there may be no namespaces here.

    """

    SIDES = ('left', 'right')

    def __init__(self) -> None:
        self.loss = 0.0
        self._random = random.Random(0)
        self._names = {side: f'uhr_{side}_{os.getpid()}' for side in self.SIDES}
        self._tuns: list[int] = []
        self._ended, self._end = os.pipe()
        self._thread = Thread(target=self._carry, daemon=True)
        try:
            for number, side in enumerate(self.SIDES, 1):
                self._plug(side, f'10.55.0.{number}/24')
        except BaseException:
            self.close()
            raise
        self._thread.start()

    def command(self, side: str, arguments: Sequence[str]) -> list[str]:
        """Return the command line that runs a program on one side."""
        return ['ip', 'netns', 'exec', self._names[side], *arguments]

    def tune(self, *settings: str) -> None:
        """Change kernel settings of both sides, such as `net.ipv4.ipfrag_time=3`."""
        pairs = (setting.split('=') for setting in settings)
        # Not sysctl, which is not on the PATH of everybody.
        lines = [f'echo {value} > /proc/sys/{key.replace(".", "/")}' for key, value in pairs]
        for side in self.SIDES:
            command = self.command(side, ['sh', '-ec', '\n'.join(lines)])
            subprocess.run(command, check=True, capture_output=True)

    def close(self) -> None:
        """Remove namespaces and cable; processes in them have ended before."""
        os.close(self._end)
        if self._thread.ident is not None:
            self._thread.join()
        os.close(self._ended)
        for tun in self._tuns:
            os.close(tun)
        for name in self._names.values():
            subprocess.run(['ip', 'netns', 'del', name], capture_output=True, check=False)

    def __enter__(self) -> LossyLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _plug(self, side: str, address: str) -> None:
        """Make a namespace and its end of the cable."""
        name, device = self._names[side], f'{side[0]}{os.getpid()}'
        tun = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
        self._tuns.append(tun)
        flags = _IFF_TUN | _IFF_NO_PI
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack('16sH14x', device.encode(), flags))
        _ip('netns', 'add', name)
        _ip('link', 'set', device, 'netns', name)
        for arguments in (
            ('addr', 'add', address, 'dev', device),
            ('link', 'set', device, 'mtu', str(_MTU), 'up'),
            ('link', 'set', 'lo', 'up'),
            ('route', 'add', '224.0.0.0/4', 'dev', device),
        ):
            _ip('-n', name, *arguments)

    def _carry(self) -> None:
        """Carry packets from either end to the other."""
        ends = dict(zip(self._tuns, self._tuns[::-1], strict=True))
        while True:
            ready = select.select([*ends, self._ended], [], [])[0]
            if self._ended in ready:
                return
            for tun in ready:
                packet = os.read(tun, _LARGEST_PACKET)
                if self._random.random() >= self.loss:
                    with suppress(OSError):  # the other end is full or not up: lost, too
                        os.write(ends[tun], packet)


def _ip(*arguments: str) -> None:
    subprocess.run(['ip', *arguments], check=True, capture_output=True)
