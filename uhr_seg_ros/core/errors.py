# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The root of every error that this package raises on purpose."""


class UhrSegError(Exception):
    """Base of the error classes of all rooms; its text is meant for the user as it is."""


class EngineError(UhrSegError):
    """A graph that cannot be opened or run, or a back end that is not there."""
