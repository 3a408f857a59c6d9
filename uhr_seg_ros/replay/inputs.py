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
Pictures from wherever people have them: the inputs of every command that takes some.

Images, folders of them, patterns, recordings and videos become sources of frames, each of which
is read when it is asked for, so that one is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
import glob
import logging
import os
from pathlib import Path

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.image_io.headers import SUFFIXES
from uhr_seg_ros.replay.frame_names import unique_stems
from uhr_seg_ros.replay.frame_sources import FrameSource, ImageFiles, RecordedTopic, VideoFile
from uhr_seg_ros.replay.recording_files import is_storage, METADATA, natural_order
from uhr_seg_ros.replay.video import is_video

logger = logging.getLogger(__name__)

# Names that encoders of cameras give to what they write as it is.
_STREAMS = ('.h264', '.264', '.h265', '.265', '.hevc')

#: What inputs are.
IMAGE, RECORDING, VIDEO = 'image', 'recording', 'video'

#: Names of what commands that write masks keep beside them begin so.
_NOTES = '.uhr_seg_'


@dataclass
class Inputs:
    """
    What inputs have become.

    Attributes:
        sources: of frames, in the order in which they were given.
        errors: why some inputs are left out.
    """

    sources: list[FrameSource] = field(default_factory=list)
    errors: list[RecordingError] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of the frames, as far as their containers tell."""
        return sum(source.count for source in self.sources)


def open_inputs(
    paths: Iterable[Path],
    topic: str = '',
    every: int = 1,
    results: Path | None = None,
    others: Sequence[str] = (),
) -> Inputs:
    """
    Find the frames of inputs; recordings and videos are opened, images are not.

    Args:
        paths: images, folders of images and videos (what is hidden in them is left out, and so
            are folders), recordings (a folder or a file of one), videos, or patterns of all
            these, such as ``flights/**/*.jpg``, where no file has this name. A folder that a
            pattern matches is a recording or a folder of images, as when it is named itself.
            The same path again is left out.
        topic: of the recordings; empty: the only likely one of each, see `choose_topic`.
        every: 1 for all frames, 2 for every second one: of each recording and video, and of
            images that come one after the other.
        results: a folder that patterns do not lead into, nor into any that has the notes of an
            earlier run: what that wrote is no input.
        others: suffixes of images that folders and patterns lead to beside the usual ones.

    Returns:
        The sources, and why inputs are none.
    """
    inputs = Inputs()
    files_of_kinds, inputs.errors = find_files(paths, results, others)
    found: list[tuple[str, list[Path]]] = []  # kind, and images in a row or one other path
    for kind, file in files_of_kinds:
        if kind != IMAGE or not found or found[-1][0] != IMAGE:
            found.append((kind, []))
        found[-1][1].append(file)
    if topic and found and all(kind != RECORDING for kind, _ in found):
        msg = f'{found[0][1][0]} is no recording, and a topic ({topic}) is one of a recording'
        inputs.errors.append(RecordingError(msg))
        return inputs
    stems = unique_stems([file for _, files in found for file in files])
    for kind, files in found:
        try:
            inputs.sources.append(_opened(kind, files, stems, topic, every))
        except RecordingError as err:
            inputs.errors.append(err)
    return inputs


def find_files(
    paths: Iterable[Path], results: Path | None = None, others: Sequence[str] = ()
) -> tuple[list[tuple[str, Path]], list[RecordingError]]:
    """
    Find what inputs stand for without opening any of it; arguments as of `open_inputs`.

    Returns:
        Kind and path of each, no path twice, and why inputs are none.
    """
    found: dict[str, tuple[str, Path]] = {}
    errors: list[RecordingError] = []
    for path in paths:
        try:
            for kind, file in _files(path, results, (*SUFFIXES, *others), errors):
                found.setdefault(os.path.abspath(file), (kind, file))
        except RecordingError as err:
            errors.append(err)
    return list(found.values()), errors


def _opened(
    kind: str, files: Sequence[Path], stems: dict[Path, str], topic: str, every: int
) -> FrameSource:
    if kind == IMAGE:
        return ImageFiles([(file, stems[file]) for file in files[::every]])
    (file,) = files
    if kind == VIDEO:
        return VideoFile(file, stems[file], every)
    return RecordedTopic(file, stems[file], topic, every)


def _files(
    path: Path, results: Path | None, suffixes: Sequence[str], errors: list[RecordingError]
) -> list[tuple[str, Path]]:
    """
    Return what a path of a user stands for, file by file, each with its kind.

    Args:
        path: of the user.
        results: see `open_inputs`.
        suffixes: of images.
        errors: takes why folders that a pattern matches are left out.

    Raises:
        RecordingError: there is no such file, or nothing in it is an input.
    """
    if os.path.isdir(path):
        return _of_folder(path, suffixes)
    if os.path.exists(path) or not glob.has_magic(str(path)):
        return [(_kind_of_file(path), path)]
    return _of_pattern(path, results, suffixes, errors)


def _of_pattern(
    pattern: Path, results: Path | None, suffixes: Sequence[str], errors: list[RecordingError]
) -> list[tuple[str, Path]]:
    matches = _in_order(map(Path, glob.glob(str(pattern), recursive=True)))
    recordings = {match for match in matches if match.is_dir() and _is_recording(match)}
    found = []
    is_deep = '**' in pattern.parts  # then it meets the folders on its way, too
    for match in matches:
        if results is not None and _is_within(match, results):
            continue
        if match in recordings:
            found.append((RECORDING, match))
        elif match.is_dir():
            if _holds_results(match):
                if not is_deep:
                    text = '%s holds results of an earlier run and is left out: name it to take it'
                    logger.warning(text, match)
                continue
            try:
                found += _of_folder(match, suffixes)
            except RecordingError as err:
                if not is_deep:
                    errors.append(err)
        elif _is_picture(match, suffixes) or (
            is_storage(match) and match.parent not in recordings
        ):
            found.append((_kind_of_file(match), match))
    if not found:
        others = f', only {len(matches)} other files' if matches else ''
        msg = f'{pattern} matches no image, recording or video{others}'
        raise RecordingError(msg)
    return found


def _of_folder(path: Path, suffixes: Sequence[str]) -> list[tuple[str, Path]]:
    try:
        files = _in_order(path.iterdir())
    except OSError as err:
        msg = f'{path} cannot be read: {err.strerror}'
        raise RecordingError(msg) from err
    pictures = [file for file in files if _is_picture(file, suffixes)]
    storages = list(filter(is_storage, files))
    if pictures and storages:
        msg = (
            f'{path} holds images and a recording: give one of them, such as {storages[0]} '
            f'or {pictures[0]}'
        )
        raise RecordingError(msg)
    if pictures:
        return [(VIDEO if is_video(file) else IMAGE, file) for file in pictures]
    if _is_recording(path):
        return [(RECORDING, path)]
    inside = any(file.is_dir() for file in files)
    hint = f"; for those of folders in it, give a pattern: '{path}/**/*.jpg'" if inside else ''
    msg = f'{path} is neither an image nor a recording, and has no images in it{hint}'
    raise RecordingError(msg)


def _kind_of_file(path: Path) -> str:
    """
    Return the kind of a file by its name; one of another name may be an image all the same.

    Raises:
        RecordingError: there is no such file, or it is a recording of ROS 1 or a bare stream.
    """
    if not os.path.exists(path):
        msg = f'no such file: {path}'
        raise RecordingError(msg)
    if is_storage(path):
        return RECORDING
    if path.suffix.lower() == '.bag':
        msg = (
            f'{path} is a recording of ROS 1, which is not read: `rosbags-convert --src '
            f'{path.name} --dst {path.stem}` makes one of ROS 2'
        )
        raise RecordingError(msg)
    if path.suffix.lower() in _STREAMS:
        msg = (
            f'{path} is a stream without a container, which has neither times nor a rate: '
            f'`ffmpeg -framerate 30 -i {path.name} -c copy {path.stem}.mp4` makes a video of it, '
            'with the rate of the camera'
        )
        raise RecordingError(msg)
    return VIDEO if is_video(path) else IMAGE


def _in_order(paths: Iterable[Path]) -> list[Path]:
    """Sort by names, numbers in them by their value; leave out what is hidden."""
    # macOS writes "._a.jpg" beside "a.jpg" on foreign disks.
    shown = (path for path in paths if not path.name.startswith('.'))
    return sorted(shown, key=lambda path: natural_order(str(path)))


def _is_picture(path: Path, suffixes: Sequence[str]) -> bool:
    return (is_video(path) or path.suffix.lower() in suffixes) and not path.is_dir()


def _is_recording(folder: Path) -> bool:
    try:
        return (folder / METADATA).is_file() or any(map(is_storage, folder.iterdir()))
    except OSError:  # reading it says why
        return False


def _holds_results(folder: Path) -> bool:
    """Tell if an earlier run has left its notes in a folder, and so masks and overlays."""
    return any(folder.glob(f'{_NOTES}*'))


def _is_within(path: Path, folder: Path) -> bool:
    """Tell if a path is a folder, or in it."""
    return os.path.join(os.path.abspath(path), '').startswith(
        os.path.join(os.path.abspath(folder), '')
    )
