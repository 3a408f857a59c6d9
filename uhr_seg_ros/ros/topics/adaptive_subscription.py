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

"""Subscriptions that adapt to the quality of service of their publishers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
import math
from threading import Lock
import time
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import (
    QoSPolicyKind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from std_msgs.msg import Header

from uhr_seg_ros.ros.messages.remarks import Throttle
from uhr_seg_ros.ros.topics.closing import withdraw
from uhr_seg_ros.ros.topics.header_only import spare, Sparing
from uhr_seg_ros.ros.topics.qos import (
    INPUT_DEPTH,
    named,
    no_events,
    Offer,
    offer_of,
)

PATIENCE_S = 3.0
"""After so long without a message, s, publishers that offer less are listened to as well."""

FLOW_S = 0.5
"""So long messages have to come before they count, s: those that were kept come all at once."""

MAX_PATIENCE_S = 30.0
"""The same for publishers that send seldom."""

_REMEMBERED = 64
"""So many messages back a message is recognized that comes by two subscriptions."""

_TELL_PERIOD_S = 600.0

_TELLS_SENDER = hasattr(Subscription, 'CallbackType')
"""Whether callbacks may ask who sent a message, and when."""


class _Link:
    """
    One subscription of those that a topic has at a moment.

    Attributes:
        subscription: None until it is made.
        repeats: so many of its messages may still be taken for ones that another one had.

    """

    def __init__(self) -> None:
        self.subscription: Subscription | None = None
        self.repeats = _REMEMBERED
        self._opened_s = time.monotonic()
        self._since_s = self._last_s = -math.inf
        self._patience_s = PATIENCE_S

    def note(self) -> None:
        """Note that a message came; one that comes seldom is waited for longer."""
        now = time.monotonic()
        gap = now - self._last_s
        if gap >= self._patience_s:
            self._since_s = now
        if gap < MAX_PATIENCE_S:
            self._patience_s = min(max(PATIENCE_S, 2 * gap), MAX_PATIENCE_S)
        self._last_s = now

    @property
    def delivers(self) -> bool:
        """Whether messages come, and not only those that were kept."""
        return self._comes_for(FLOW_S)

    @property
    def is_steady(self) -> bool:
        """Whether messages have come for some time."""
        return self._comes_for(PATIENCE_S)

    @property
    def is_young(self) -> bool:
        """Whether it is too early to say that no messages come."""
        return time.monotonic() - self._opened_s < PATIENCE_S

    def _comes_for(self, seconds: float) -> bool:
        is_silent = time.monotonic() - self._last_s >= self._patience_s
        return not is_silent and self._last_s - self._since_s >= seconds


class AdaptiveQosSubscription:
    """
    A subscription that takes the quality of service its publishers offer.

    That cannot change on a living subscription, so `update_qos` opens others; call it often.
    Where publishers offer different ones, all are asked for until messages come by one, then those
    that are weaker are closed, and opened again when no more come: a publisher that sends nothing
    takes nothing from one that does. By Fast DDS defaults a best-effort subscription receives no
    frame above half a megabyte, a reliable one never connects to a best-effort publisher, and one
    that wants what was sent before it came never connects to a publisher that does not keep it.

    As long as nobody publishes, a reliable one is asked for: a single frame that somebody sends
    as soon as he is connected would be lost by one that is best effort. A best-effort camera that
    comes later logs that once. With none at all, the first frames of a camera would be lost until
    one is opened, and the graph would not show which topic is waited for. `BEST_AVAILABLE` of
    rclpy is no way around it: it looks once, and where it finds no publisher it asks for reliable
    and transient local.

    Messages come one after the other, in a callback group of their own: taking a 4K frame holds
    up nothing else of the node. None comes twice.

    Args:
        node: owner.
        message_type: class of the messages, which have a header.
        topic: relative name, remapped by the node.
        callback: gets each message.
        reliability: `auto` to follow, or `reliable` or `best_effort` to keep one.
        sparing: which messages are taken without their data, None for none.
        depth: messages that may wait to be taken, unless a parameter overrides it.

    Attributes:
        topic_name: resolved name, which starts with `/`.
        type_name: of the messages, such as `sensor_msgs/msg/Image`.
        fixed: the reliability that is kept, or None.

    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        reliability: str = 'auto',
        sparing: Sparing | None = None,
        depth: int = INPUT_DEPTH,
    ) -> None:
        self._node = node
        self._depth = depth
        self._message_type = message_type
        self._topic = topic
        self._callback, self._sparing = callback, sparing
        self.fixed = None if reliability == 'auto' else reliability == 'reliable'
        self._group = MutuallyExclusiveCallbackGroup()
        self._lock = Lock()  # closing comes from another thread than following
        self._is_closed = False
        self._links: dict[Offer, _Link] = {}
        self._recent: deque[tuple[_Link, tuple[int, ...]]] = deque(maxlen=_REMEMBERED)
        self._sources = Sources()
        self._throttle = Throttle(_TELL_PERIOD_S)
        self.topic_name = node.resolve_topic_name(topic)
        self.type_name = f'{message_type.__module__.partition(".")[0]}/msg/{message_type.__name__}'
        self.update_qos()
        if not self._links:
            self._open(Offer(reliable=self.fixed is not False, latched=False))

    @property
    def offers(self) -> list[Offer]:
        """What is subscribed to now, the strongest first."""
        return sorted(list(self._links), reverse=True)

    def publishers(self) -> list[TopicEndpointInfo]:
        """Return who publishes on the topic, of whatever type."""
        return self._node.get_publishers_info_by_topic(self._topic)

    def update_qos(self) -> None:
        """Open and close subscriptions as the publishers ask for, and as they deliver."""
        publishers = [each for each in self.publishers() if each.topic_type == self.type_name]
        opened: list[Offer] = []
        with self._lock:
            if self._is_closed:
                return
            is_first = not self._links
            # What is open stays while nobody publishes.
            if wanted := self.suited(publishers):
                opened = self._climb(sorted(wanted, reverse=True))
        for offer in opened if not is_first else ():
            if self._throttle.allows(f'opened {offer}'):
                self._node.get_logger().info(
                    f'{self.topic_name}: a publisher offers {offer}, subscribed again'
                )
        self._tell_of_several(publishers)

    def suited(self, publishers: Iterable[TopicEndpointInfo]) -> set[Offer]:
        """Return what to ask for, so that each publisher is heard that can be."""
        offers = {offer_of(each) for each in publishers}
        if self.fixed is None:
            return offers
        return {
            Offer(self.fixed, each.latched) for each in offers if each.reliable or not self.fixed
        }

    def problem(self) -> str:
        """Return what is wrong with the messages that come, or an empty string."""
        if not self._sources.are_mixed:
            return ''
        senders = self._sources.senders(self.publishers())
        if len(senders) < 2:
            return ''
        return f'messages of several publishers are mixed on {self.topic_name}: {named(senders)}'

    def close(self) -> None:
        """Unsubscribe for good, from all, whatever one of them raises."""
        with self._lock, ExitStack() as closing:
            self._is_closed = True
            for offer in self._links:
                closing.callback(self._close, offer)

    def _climb(self, wanted: list[Offer]) -> list[Offer]:
        """Open the strongest that delivers and all above it, close the others; return the new."""
        kept: list[Offer] = []
        opened: list[Offer] = []
        for offer in wanted:
            if offer not in self._links:
                self._open(offer)
                opened.append(offer)
            kept.append(offer)
            if self._links[offer].delivers:
                break
        delivers = self._links[kept[-1]].delivers
        is_early = any(self._links[offer].is_young for offer in kept)
        for offer in [each for each in self._links if each not in kept]:
            # What nobody offers may have messages until another subscription has taken its place.
            connects = any(offer.reaches(each) for each in wanted)
            if delivers or not is_early or not connects:
                self._close(offer)
        return opened

    def _tell_of_several(self, publishers: list[TopicEndpointInfo]) -> None:
        if len(publishers) < 2:
            return
        several = f'has {len(publishers)} publishers: {named(publishers)}'
        advice = 'give each sensor a topic of its own, or end those that are not meant'
        if mixed := self.problem():
            self._warn('mixed', f'{mixed}; {advice}')
        elif unheard := self._unheard(publishers):
            self._warn(
                'unheard',
                f'{several}. {named(unheard)} cannot be heard while messages '
                f'come from the others: {advice}',
            )

    def _unheard(self, publishers: list[TopicEndpointInfo]) -> list[TopicEndpointInfo]:
        """Return to whom no subscription connects, as another one delivers all the time."""
        links = dict(self._links)
        if not any(link.is_steady for link in links.values()):
            return []
        return [each for each in publishers if not any(it.reaches(offer_of(each)) for it in links)]

    def _warn(self, kind: str, text: str) -> None:
        if self._throttle.allows(kind):
            self._node.get_logger().warning(f'{self.topic_name}: {text}')

    def _open(self, offer: Offer) -> _Link:
        link = _Link()
        # rclpy of Humble calls back with the message alone.
        take = partial(self._take, link)
        link.subscription = self._node.create_subscription(
            self._message_type,
            self._topic,
            take if _TELLS_SENDER else partial(take, info={}),
            offer.profile(self._depth),
            callback_group=self._group,
            # Those of rclpy say that nothing will come, though another subscription may get it.
            event_callbacks=no_events(),
            qos_overriding_options=QoSOverridingOptions([QoSPolicyKind.DEPTH]),
        )
        if self._sparing is not None:
            spare(link.subscription, self._sparing.is_wanted)
        self._links[offer] = link
        return link

    def _close(self, offer: Offer) -> None:
        if (subscription := self._links.pop(offer).subscription) is not None:
            withdraw(self._node, subscription)

    def _take(self, link: _Link, message: Any, info: Mapping[str, Any]) -> None:
        link.note()
        if self._is_repeated(link, stamp_of(message), info.get('source_timestamp') or 0):
            return
        self._sources.note((info.get('publisher_gid') or {}).get('data', b''))
        if isinstance(message, Header) and self._sparing is not None:
            self._sparing.skip(message)
        else:
            self._callback(message)

    def _is_repeated(self, link: _Link, stamp: Time, sent_ns: int) -> bool:
        """Return whether another subscription, or this one, has had a message before."""
        key = sent_ns, stamp.sec, stamp.nanosec
        if any(key):
            # Without the time of sending, a stamp that stands still must not end everything.
            found = any(key == each and (sent_ns or link is not by) for by, each in self._recent)
            if found and link.repeats:
                link.repeats -= not sent_ns
                return True
        self._recent.append((link, key))
        return False


def stamp_of(message: Any) -> Time:
    """Return the stamp of a message, or of the header that was taken in its place."""
    if isinstance(message, Header):
        return message.stamp
    # That of foxglove_msgs/CompressedVideo has no header.
    return message.header.stamp if hasattr(message, 'header') else message.timestamp


_WINDOW = 32
"""So many messages back it is looked who sent them."""


class Sources:
    """Which publishers the last messages came from; nothing where rclpy does not tell (Humble)."""

    def __init__(self) -> None:
        self._newest: deque[bytes] = deque(maxlen=_WINDOW)

    def note(self, gid: bytes) -> None:
        """Note who sent a message; empty if that is not known."""
        if gid:
            self._newest.append(_plain(gid))

    def senders(self, publishers: Iterable[TopicEndpointInfo]) -> list[TopicEndpointInfo]:
        """Return those of the publishers that have sent one of the last messages."""
        newest = set(self._newest)
        return [each for each in publishers if _plain(bytes(each.endpoint_gid)) in newest]

    @property
    def are_mixed(self) -> bool:
        """Whether one sent again after another did: else one may have taken another's place."""
        newest = list(self._newest)
        switches = sum(before != after for before, after in pairwise(newest))
        return switches >= max(len(set(newest)), 2)


def _plain(gid: bytes) -> bytes:
    """Return an identifier without the zeros that it may be filled up with."""
    return gid.rstrip(b'\0')
