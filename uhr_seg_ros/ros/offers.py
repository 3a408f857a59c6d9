# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What the publishers of a topic offer, and which of them send."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from uhr_seg_ros.core.text import listed

MAX_NAMED = 5
"""So many publishers are named in a text."""

_WINDOW = 32
"""So many messages back it is looked who sent them."""


class Offer(NamedTuple):
    """
    The quality of service of a publisher, or of the subscription that suits it; sorts by strength.

    Attributes:
        reliable: whether lost messages are sent again.
        latched: whether a late subscription gets what was sent before (transient local).

    """

    reliable: bool
    latched: bool

    def reaches(self, publisher: Offer) -> bool:
        """Return whether a subscription of this quality connects to a publisher of that one."""
        return self.reliable <= publisher.reliable and self.latched <= publisher.latched

    def profile(self, depth: int) -> QoSProfile:
        """Return the profile of a subscription."""
        return QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=depth,
            reliability=(
                ReliabilityPolicy.RELIABLE if self.reliable else ReliabilityPolicy.BEST_EFFORT
            ),
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if self.latched else DurabilityPolicy.VOLATILE
            ),
        )

    def __str__(self) -> str:
        reliability = 'reliable' if self.reliable else 'best_effort'
        return f'{reliability}, transient_local' if self.latched else reliability


def offer_of(publisher: TopicEndpointInfo) -> Offer:
    """Return what a publisher offers, as `get_publishers_info_by_topic` found it."""
    profile = publisher.qos_profile
    return Offer(
        profile.reliability != ReliabilityPolicy.BEST_EFFORT,
        profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
    )


def name_of(publisher: TopicEndpointInfo) -> str:
    """Return the fully qualified name of a publisher's node."""
    return f'{publisher.node_namespace.rstrip("/")}/{publisher.node_name}'


def named(publishers: Sequence[TopicEndpointInfo], *, types: bool = False) -> str:
    """Return names and offers of publishers, with their types where asked for; or `none`."""
    texts = [
        f'{name_of(each)} ({offer_of(each)}{f", {each.topic_type}" if types else ""})'
        for each in publishers[:MAX_NAMED]
    ]
    if more := len(publishers) - len(texts):
        texts.append(f'{more} more')
    return listed(texts, 600) or 'none'


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
