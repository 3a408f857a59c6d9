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

"""The services of the node, called from another process, and how DDS carries its topics."""

from __future__ import annotations

from threading import Event
from typing import Any, TYPE_CHECKING

from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy import get_rmw_implementation_identifier
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import Parameter

from uhr_seg_ros.core.errors import ProcessError

if TYPE_CHECKING:
    from rclpy.topic_endpoint_info import TopicEndpointInfo

ANSWER_TIMEOUT_S = 10.0


class NodeClient:
    """
    Asks one node.

    Args:
        node: who asks; it must be spinning on another thread.
        name: fully qualified name of the node that is asked.

    """

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self._name = name
        self._clients: dict[str, Client] = {}

    def parameters(self, names: list[str] | None = None) -> dict[str, Any]:
        """
        Return parameters by name, all of them if none is named.

        Raises:
            ProcessError: no answer within 10 s.

        """
        if names is None:
            names = self._call(ListParameters, 'list_parameters').result.names
        values = self._call(GetParameters, 'get_parameters', names=names).values
        messages = [
            ParameterMessage(name=name, value=value)
            for name, value in zip(names, values, strict=True)
        ]
        parameters = map(Parameter.from_parameter_msg, messages)
        return {each.name: _plain(each.value) for each in parameters}

    def state(self) -> str:
        """
        Return the label of the lifecycle state.

        Raises:
            ProcessError: no answer within 10 s.

        """
        return self._call(GetState, 'get_state').current_state.label

    def change_state(self, transition: str) -> None:
        """
        Take a lifecycle transition.

        Args:
            transition: its label, such as `activate`.

        Raises:
            ProcessError: no answer within 10 s, or the node refuses.

        """
        request = ChangeState.Request()
        request.transition.label = transition
        if not self._answer(self._client(ChangeState, 'change_state'), request).success:
            msg = f'{self._name} refuses to {transition} in state {self.state()}'
            raise ProcessError(msg)

    def _call(self, service: Any, name: str, **fields: Any) -> Any:
        return self._answer(self._client(service, name), service.Request(**fields))

    def _client(self, service: type, name: str) -> Client:
        if name not in self._clients:
            self._clients[name] = self._node.create_client(service, f'{self._name}/{name}')
        return self._clients[name]

    def _answer(self, client: Client, request: Any) -> Any:
        answered = Event()
        if client.wait_for_service(ANSWER_TIMEOUT_S):
            future = client.call_async(request)
            future.add_done_callback(lambda _: answered.set())
        if not answered.wait(ANSWER_TIMEOUT_S):
            msg = f'{client.srv_name} does not answer within {ANSWER_TIMEOUT_S:.0f} s'
            raise ProcessError(msg)
        return future.result()


def _plain(value: Any) -> Any:
    """Return a value that JSON has; arrays of numbers come as array.array."""
    return value if isinstance(value, str | int | float | None) else list(value)


def describe_dds(node: Node, inputs: str, outputs: str) -> dict[str, Any]:
    """Return the middleware, and the QoS of a subscription and of a publication of others."""
    return {
        'rmw': get_rmw_implementation_identifier(),
        'image_qos': _qos(node.get_subscriptions_info_by_topic(inputs)),
        'mask_qos': _qos(node.get_publishers_info_by_topic(outputs)),
    }


def _qos(endpoints: list[TopicEndpointInfo]) -> str | None:
    if not endpoints:
        return None
    profile = endpoints[0].qos_profile
    return f'{profile.reliability.name.lower()}, {profile.durability.name.lower()}'
