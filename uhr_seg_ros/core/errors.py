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
The errors that are told to users: each names the value, the limit and the way out.

What a caller can tell apart has a class here. Where a room catches a narrower one itself, it
derives it from one of these.
"""


class UhrSegError(Exception):
    """The root of all errors of this package."""


class BundleError(UhrSegError):
    """A bundle or one of its graphs that is damaged, unsuitable, or cannot be made."""


class CheckpointError(UhrSegError):
    """A file of weights that cannot be read or does not fit the network."""


class ConfigError(UhrSegError):
    """An option, parameter, setting or plan that is invalid, or contradicts another."""


class DataError(UhrSegError):
    """Images and labels that do not fit together or cannot be read as a data set."""


class EngineError(UhrSegError):
    """A graph that cannot be opened or run, or a back end that is missing."""


class ImageError(UhrSegError):
    """An image, in a file or a message, that is malformed, damaged or too large."""


class MessageError(UhrSegError):
    """A ROS message beside images that is malformed, or lacks what it refers to."""


class ProcessError(UhrSegError):
    """A node, player or measurement that did not do its part."""


class RecordingError(UhrSegError):
    """A recording, or a topic of one, that cannot be read or written."""


class TrainingError(UhrSegError):
    """Training that cannot begin or go on."""


class WriteError(UhrSegError):
    """A result that cannot be written."""
