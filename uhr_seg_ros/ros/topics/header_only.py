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

"""Messages that will be thrown away are taken without their data."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from rclpy.subscription import Subscription
from std_msgs.msg import Header


class Sparing(NamedTuple):
    """
    What becomes of messages whose data nobody needs.

    Attributes:
        is_wanted: asked before each message is taken; False asks for its header alone.
        skip: gets that.

    """

    is_wanted: Callable[[], bool]
    skip: Callable[[Header], None]


class SparingSubscription(Subscription):
    """
    A subscription some of whose messages are taken as a `std_msgs/Header`; see `spare`.

    An executor takes a message as an object of the class that `msg_type` names.
    """

    _is_wanted: Callable[[], bool]

    @property
    def msg_type(self) -> type:  # type: ignore[override]
        """The class of the next message."""
        whole: type = self.__dict__['msg_type']
        return whole if self._is_wanted() else header_type(whole) or whole


def spare(subscription: Subscription[Any], is_wanted: Callable[[], bool]) -> None:
    """
    Let a subscription take only the headers of messages that are not wanted.

    The middleware hands over a structure of C, of which rclpy makes an object of Python. Of a 4K
    frame that is two more copies of 25 MB, made while no other thread can run: most of what
    taking it costs. Messages in their serialized form (`raw=True`) cost as much.

    Args:
        subscription: of messages whose first field is a header, such as images.
        is_wanted: asked before each message is taken.

    """
    # In this order: an executor may take from it already.
    subscription.__dict__['_is_wanted'] = is_wanted
    subscription.__class__ = SparingSubscription


@cache
def header_type(message_type: type) -> type | None:
    """
    Return a class as which a message is taken as its header; None if that cannot be.

    A class of messages has, on its metaclass, functions of C: one that makes the structure, and
    one that turns it into an object. Here the second is that of `std_msgs/Header`, and as the
    header is the first field, a pointer to the message is one to its header.
    """
    fields = message_type.get_fields_and_field_types()  # type: ignore[attr-defined]
    meta = type(message_type)
    convert = getattr(type(Header), '_CONVERT_TO_PY', None)
    if next(iter(fields.items()), None) != ('header', 'std_msgs/Header') or convert is None:
        return None
    if not hasattr(meta, '_CONVERT_TO_PY'):
        return None
    return type('_HeadersOf', (meta,), {'_CONVERT_TO_PY': convert})('HeaderAlone', (), {})
