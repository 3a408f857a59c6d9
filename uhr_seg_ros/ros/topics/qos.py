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

"""The quality of service of publications, and what publishers offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo

from uhr_seg_ros.core.text import listed

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

# Old frames are of no use here, but a reliable 4K frame arrives in hundreds of fragments: with
# a depth of one, the next frame could throw it out before it is complete.
INPUT_DEPTH = 5

# Packets of a stream are small, and one that is lost takes those after it along.
STREAM_DEPTH = 30

OUTPUT_DEPTH = 2


def output_qos() -> QoSProfile:
    """Return the profile of masks and pictures: reliable, which connects to every subscriber."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=OUTPUT_DEPTH, reliability=ReliabilityPolicy.RELIABLE
    )


def latched_qos() -> QoSProfile:
    """Return the profile of what a late subscriber has to get too."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def output_overrides() -> QoSOverridingOptions:
    """Let parameters `qos_overrides.<topic>.publisher.*` change a publication."""
    return QoSOverridingOptions.with_default_policies()


def no_events() -> SubscriptionEventCallbacks:
    """Leave out the warnings of rclpy, which every waking of an executor would look for."""
    return SubscriptionEventCallbacks(use_default_callbacks=False)


MAX_NAMED = 5
"""So many publishers are named in a text."""


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
