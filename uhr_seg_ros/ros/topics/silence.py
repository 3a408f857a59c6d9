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

"""Why no message comes, as far as the ROS graph proves it, and what to do."""

from __future__ import annotations

from difflib import SequenceMatcher
import os
from pathlib import Path

from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier

from uhr_seg_ros.core.text import listed
from uhr_seg_ros.ros.topics.adaptive_subscription import AdaptiveQosSubscription
from uhr_seg_ros.ros.topics.names import base_topic, TRANSPORTS
from uhr_seg_ros.ros.topics.qos import MAX_NAMED, named

_TRANSPORTS = {each.type_name: name for name, each in TRANSPORTS.items()}
"""Type of images -> the value of image_transport that takes them."""

_NOT_READ = ('theora', 'zstd', 'compressedDepth', 'h264')
"""Last parts of topics of other transports."""

_LIMITS = ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY', 'ROS_STATIC_PEERS')
"""Variables that keep nodes from seeing each other."""


def why_silent(node: Node, subscription: AdaptiveQosSubscription, name: str) -> str:
    """
    Return what the graph knows about a topic without messages, and the way out.

    Args:
        node: owner of the subscription.
        subscription: gets nothing.
        name: of the topic before it is remapped, such as `front/image_raw`.

    Returns:
        Who publishes and how, and what follows from that.

    """
    publishers = subscription.publishers()
    asked = ' and '.join(map(str, subscription.offers))
    found = f'publishers: {named(publishers, types=True)}; subscribed {asked}'
    if not publishers:
        return f'{found}. {_nobody_publishes(node, subscription, name)}'
    right = [each for each in publishers if each.topic_type == subscription.type_name]
    if not right:
        types = sorted({each.topic_type for each in publishers})
        return (
            f'{found}. It is of type {listed(types)}, but {subscription.type_name} is '
            f'expected: {_take_type(subscription, name, types)}'
        )
    if not subscription.suited(right):
        return (
            f'{found}. That does not connect to a publisher that is best_effort: set '
            'image_qos to auto'
        )
    return (
        f'{found}. They send nothing, or it is lost: see with ros2 topic hz '
        f'{subscription.topic_name}. Frames above 0.5 MB need a DDS profile for their '
        'publisher (config/dds)'
    )


def _take_type(subscription: AdaptiveQosSubscription, name: str, types: list[str]) -> str:
    """Return how to take a topic of another type."""
    topic = subscription.topic_name
    transport = next((_TRANSPORTS[each] for each in types if each in _TRANSPORTS), '')
    if not transport or not _has_transports(subscription, name):
        return f'remap {name} to a topic of that type'
    suffix = TRANSPORTS[transport].suffix
    if topic.endswith(suffix):
        return f'set image_transport to {transport}'
    return (
        f'set image_transport to {transport}, and remap {name}{suffix} to {topic} in the place '
        f'of {name}'
    )


def _nobody_publishes(node: Node, subscription: AdaptiveQosSubscription, name: str) -> str:
    """Return what is published in the place of a topic."""
    topic, type_name = subscription.topic_name, subscription.type_name
    published = _published(node)
    is_image = _has_transports(subscription, name)
    base = base_topic(topic)
    for transport, kind in TRANSPORTS.items() if is_image else ():
        if published.get(base + kind.suffix) == kind.type_name:
            return f'{base}{kind.suffix} is published: set image_transport to {transport}'
    others = [f'{base}/{each}' for each in _NOT_READ if f'{base}/{each}' in published]
    if is_image and others:
        return (
            f'Published is {listed(others)}, which is not read: let republish of '
            'image_transport decode it, or the driver publish raw or compressed images'
        )
    fitting = [
        f'{each} ({published[each]})'
        for each in sorted(published, key=lambda each: -_likeness(each, topic))
        if published[each] in (_TRANSPORTS if is_image else (type_name,))
        and not each.endswith('compressedDepth')
    ]
    if fitting:
        more = [f'{len(fitting) - MAX_NAMED} more'] if len(fitting) > MAX_NAMED else []
        which = listed([*fitting[:MAX_NAMED], *more], 600)
        way = f'Published are {which}: remap {name} to one'
        if is_image:
            way += f'; image_transport {_TRANSPORTS[type_name]} takes {type_name}'
        return way
    return _nothing_fits(node, 'images' if is_image else type_name)


def _has_transports(subscription: AdaptiveQosSubscription, name: str) -> bool:
    """Return whether image_transport chooses the type of a topic: not for depth images."""
    return subscription.type_name in _TRANSPORTS and name.endswith('image_raw')


def _nothing_fits(node: Node, what: str) -> str:
    """Return whether the node sees any other."""
    own = node.get_name(), node.get_namespace()
    others = {
        each
        for each in node.get_node_names_and_namespaces()
        if each != own and not each[0].startswith('_')
    }
    if others:
        count = len(others)
        return f'Nodes that are seen besides: {count}; none publishes {what}: start the driver'
    limits = [f'{each} is {os.environ[each]}' for each in _LIMITS if os.environ.get(each)]
    return (
        f'No other node is seen: start the driver, with the ROS_DOMAIN_ID '
        f'{node.context.get_domain_id()} and the RMW {get_rmw_implementation_identifier()} '
        'that this node has' + (f'; {listed(limits)} here' if limits else '')
    )


def _published(node: Node) -> dict[str, str]:
    """Return topics that others publish, with their first type."""
    own = node.get_fully_qualified_name() + '/'
    return {
        topic: types[0]
        for topic, types in node.get_topic_names_and_types()
        if types and not topic.startswith(own) and node.count_publishers(topic)
    }


def _likeness(topic: str, other: str) -> float:
    return SequenceMatcher(None, topic, other).ratio()


_PROC = Path('/proc')

#: What frames of 25 MB need: bytes for packets that wait for the others of their datagram, and for
#: how long they may wait, s. Linux has 4 MB and 30 s: after lost packets, what waits in vain fills
#: the memory, and for half a minute nothing large gets through.
NEEDED_BYTES, NEEDED_S = 134217728, 3


def failed_reassemblies() -> int:
    """Return how many datagrams could not be put together so far; 0 where nobody tells."""
    try:
        lines = (_PROC / 'net/snmp').read_text(encoding='ascii').splitlines()
    except OSError:
        return 0
    rows = [line.split()[1:] for line in lines if line.startswith('Ip: ')]
    if len(rows) != 2:
        return 0
    return int(dict(zip(*rows, strict=False)).get('ReasmFails', 0))


def reassembly_advice(failed: int) -> str:
    """
    Return what to do about failed reassemblies.

    Args:
        failed: how many there were since frames came last.

    Returns:
        A sentence; empty if there were none, or the settings are not to blame.

    """
    room = _setting('ipfrag_high_thresh')
    if not failed or room is None or room >= NEEDED_BYTES:
        return ''
    return (
        f'{failed} datagrams could not be put together from their packets: packets are lost on '
        f'the way, and net.ipv4.ipfrag_high_thresh is {room}. Run: sysctl -w '
        f'net.ipv4.ipfrag_high_thresh={NEEDED_BYTES} net.ipv4.ipfrag_time={NEEDED_S}'
    )


def _setting(name: str) -> int | None:
    try:
        return int((_PROC / 'sys/net/ipv4' / name).read_text(encoding='ascii'))
    except (OSError, ValueError):
        return None
