# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The segmentation node: lifecycle and wiring."""

from __future__ import annotations

import sys
import time
import traceback
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from functools import partial
from threading import Event
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleNodeMixin, LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn as Return
from rclpy.node import Node

from uhr_seg_ros.bundle import MODEL_FILE, file_sha256
from uhr_seg_ros.errors import UhrSegError
from uhr_seg_ros.ros.camera_info import CameraInfoCache
from uhr_seg_ros.ros.diagnostics import CameraMonitor, StageWindows, node_status
from uhr_seg_ros.ros.inputs import CameraInput, Frame, image_topic
from uhr_seg_ros.ros.memory import keep_large_buffers
from uhr_seg_ros.ros.outputs import CameraOutput
from uhr_seg_ros.ros.parameters import Parameters
from uhr_seg_ros.ros.process import run
from uhr_seg_ros.ros.throttle import Throttle
from uhr_seg_ros.ros.worker import Worker
from uhr_seg_ros.segmenter import Segmenter
from uhr_seg_ros.timing import StageClock
