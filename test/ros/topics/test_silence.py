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

"""Where no message comes, the cause is named, and only what the graph proves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import gc

import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from stage import BEST_EFFORT, example_mask, RELIABLE, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.core.image_writing import encode_image
from uhr_seg_ros.ros.topics.adaptive_subscription import AdaptiveQosSubscription
from uhr_seg_ros.ros.topics.names import camera_info_topic, image_topic
from uhr_seg_ros.ros.topics.silence import why_silent

Ask = Callable[..., str]
RAW, PACKED, POINTS = (Image, 'raw'), (CompressedImage, 'compressed'), (PointCloud2, '')
DEPTH = (Image, '')


@pytest.fixture
def contexts() -> Iterator[list[Context]]:
    """Return two participants: one cannot have two types of a topic, as two processes can."""
    contexts = [Context(), Context()]
    for each in contexts:
        rclpy.init(context=each)
    yield contexts
    for each in contexts:
        each.try_shutdown()


@pytest.fixture
def ask(contexts: list[Context]) -> Iterator[Ask]:
    """Return a function that asks why nothing comes, while others publish (topic, type, QoS)."""
    nodes: list[Node] = []

    def make(
        kind: tuple[type, str],
        *published: tuple[str, type, QoSProfile],
        remap: str = '',
        reliability: str = 'auto',
    ) -> str:
        driver = Node('driver', context=contexts[1], use_global_arguments=False)
        arguments = ['--ros-args', '-r', remap] if remap else []
        node = Node('robot', context=contexts[0], use_global_arguments=False, cli_args=arguments)
        nodes.extend((driver, node))
        name = 'image_raw' if kind[1] else 'depth' if kind == DEPTH else 'points'
        topic = image_topic(node, '', kind[1]) if kind[1] else name
        subscription = AdaptiveQosSubscription(node, kind[0], topic, print, reliability)
        for other, message_type, qos in published:
            driver.create_publisher(message_type, other, qos)
        for other, *_ in published:
            wait_until(lambda other=other: node.count_publishers(other), other)
        known = [('driver', '/'), ('robot', '/')]
        wait_until(lambda: set(known) <= set(node.get_node_names_and_namespaces()), 'the driver')
        for other, *_ in published:  # their names come last
            wait_until(
                lambda other=other: all(
                    offer.node_name == 'driver'
                    for offer in node.get_publishers_info_by_topic(other)
                ),
                other,
            )
        subscription.update_qos()
        return why_silent(node, subscription, name)

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.mark.parametrize(
    ('kind', 'topic', 'message_type', 'remap', 'texts'),
    [
        pytest.param(
            RAW,
            '/cam/image_raw',
            CompressedImage,
            'image_raw:=/cam/image_raw',
            [
                'It is of type sensor_msgs/msg/CompressedImage, but sensor_msgs/msg/Image is',
                'image_transport to compressed, and remap image_raw/compressed to /cam/image_raw',
            ],
            id='compressed under the name of raw',
        ),
        pytest.param(
            RAW,
            '/cam/image_raw/compressed',
            CompressedImage,
            'image_raw:=/cam/image_raw/compressed',
            ['set image_transport to compressed'],
            id='the name of compressed with raw',
        ),
        pytest.param(
            PACKED,
            '/image_raw/compressed',
            Image,
            '',
            ['set image_transport to raw'],
            id='raw under the name of compressed',
        ),
        pytest.param(
            RAW,
            '/image_raw',
            CameraInfo,
            '',
            ['remap image_raw to a topic of that type'],
            id='another type',
        ),
        pytest.param(
            RAW,
            '/image_raw/compressed',
            CompressedImage,
            '',
            [
                'publishers: none',
                '/image_raw/compressed is published: set image_transport to compressed',
            ],
            id='published compressed only',
        ),
        pytest.param(
            PACKED,
            '/image_raw',
            Image,
            '',
            ['/image_raw is published: set image_transport to raw'],
            id='published raw only',
        ),
        pytest.param(
            RAW,
            '/image_raw/compressedDepth',
            CompressedImage,
            '',
            ['Published is /image_raw/compressedDepth, which is not read'],
            id='depth only',
        ),
        pytest.param(
            RAW,
            '/cam/image_raw',
            Image,
            '',
            ['Published are /cam/image_raw (sensor_msgs/msg/Image): remap image_raw to one'],
            id='another name',
        ),
        pytest.param(
            RAW,
            '/cam/image_raw/compressed',
            CompressedImage,
            '',
            [
                'Published are /cam/image_raw/compressed (sensor_msgs/msg/CompressedImage)',
                'image_transport raw takes sensor_msgs/msg/Image',
            ],
            id='another name and transport',
        ),
        pytest.param(
            POINTS,
            '/lidar/points',
            PointCloud2,
            '',
            ['Published are /lidar/points (sensor_msgs/msg/PointCloud2): remap points to one'],
            id='points under another name',
        ),
        pytest.param(
            POINTS,
            '/points',
            Image,
            '',
            ['remap points to a topic of that type'],
            id='points of another type',
        ),
        pytest.param(
            DEPTH,
            '/depth',
            CompressedImage,
            '',
            ['remap depth to a topic of that type'],
            id='compressed depth',
        ),
        pytest.param(
            RAW, '/image_raw', Image, '', ['They send nothing, or it is lost'], id='silent'
        ),
    ],
)
def test_the_cause_is_named(
    ask: Ask, kind: tuple, topic: str, message_type: type, remap: str, texts: list[str]
) -> None:
    answer = ask(kind, (topic, message_type, RELIABLE), remap=remap)
    for text in texts:
        assert text in answer
    assert ('config/dds' in answer) == ('send nothing' in answer)


def test_a_quality_of_service_that_does_not_connect(ask: Ask) -> None:
    answer = ask(RAW, ('/image_raw', Image, BEST_EFFORT), reliability='reliable')
    assert '/driver (best_effort, sensor_msgs/msg/Image); subscribed reliable' in answer
    assert 'set image_qos to auto' in answer


@pytest.fixture
def _nodes_of_other_tests_are_gone() -> None:
    """Collect nodes that were not destroyed: others see them until then."""
    gc.collect()


@pytest.mark.usefixtures('_nodes_of_other_tests_are_gone')
def test_others_that_publish_no_images(ask: Ask) -> None:
    assert 'Nodes that are seen besides: 1; none publishes images' in ask(RAW)


@pytest.mark.usefixtures('_nodes_of_other_tests_are_gone')
def test_nobody_else(context: Context) -> None:
    node = Node('robot', context=context)
    answer = why_silent(
        node, AdaptiveQosSubscription(node, Image, 'image_raw', print), 'image_raw'
    )
    assert 'publishers: none; subscribed reliable. No other node is seen' in answer
    assert f'ROS_DOMAIN_ID {context.get_domain_id()}' in answer
    assert 'ROS_AUTOMATIC_DISCOVERY_RANGE is LOCALHOST' in answer
    node.destroy_node()


def test_at_most_a_few_topics_are_listed(ask: Ask) -> None:
    topics = [(f'/cameras/number_{index}/image', Image, RELIABLE) for index in range(40)]
    answer = ask(RAW, *topics)
    assert '35 more' in answer
    assert len(answer) < 1000


@pytest.mark.parametrize('base', ['/cam/image_raw', '/cam/image_raw/compressed'])
def test_the_whole_name_of_a_compressed_topic_is_taken_too(
    make_stage: Callable[..., Stage], base: str
) -> None:
    remap = ['--ros-args', '-r', f'image_raw:={base}']
    stage = make_stage(_cli_args=remap, image_transport='compressed')
    data = encode_image('.png', paint(example_mask()))
    stage.camera('/cam/camera_info', CameraInfo)
    camera = stage.camera('/cam/image_raw/compressed', CompressedImage)
    camera.publish(CompressedImage(format='png', data=data))
    stage.wait_for_count('/cam/image_raw/compressed', received=1, processed=1)


def test_the_advice_on_a_remapped_compressed_topic_works(
    make_stage: Callable[..., Stage],
) -> None:
    remap = ['--ros-args', '-r', 'image_raw/compressed:=/cam/jpeg']
    stage = make_stage(_cli_args=remap, image_transport='compressed')
    stage.camera('/cam/jpeg', CompressedImage)


def test_calibration_beside_a_compressed_topic(context: Context) -> None:
    node = Node(
        'robot',
        context=context,
        cli_args=['--ros-args', '-r', 'image_raw:=/cam/image_raw/compressed'],
    )
    assert camera_info_topic(node, 'image_raw', 'camera_info') == '/cam/camera_info'
    node.destroy_node()
