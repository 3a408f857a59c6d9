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

"""From the archives of a published data set to the folder that trainings read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from uhr_seg_ros.core.atomic_io import atomic_write, write_json
from uhr_seg_ros.core.errors import DataError
from uhr_seg_ros.core.image_writing import write_image
from uhr_seg_ros.core.progress import named_bar
from uhr_seg_ros.core.text import listed
from uhr_seg_ros.core.work_folders import draft_folder
from uhr_seg_ros.data.archives import Member, members, parts_of
from uhr_seg_ros.data.dataset import named
from uhr_seg_ros.data.pairing import find
from uhr_seg_ros.data.published import Place, PublishedSet
from uhr_seg_ros.data.published_parts import check_kept, PartCollection


@dataclass
class Preparation:
    """
    What has become of a data set.

    Attributes:
        written: Files that were written now.
        kept: Files that were there before.
        faults: Path below the root, or archive -> what is wrong.
    """

    written: int = 0
    kept: int = 0
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What was done so far, in a few words."""
        return f'{self.written} files written, {self.kept} were there'


def prepare(
    published: PublishedSet, sources: Sequence[Path], root: Path, found: Preparation
) -> None:
    """
    Bring the files of a published set to their places; those that are there stay.

    A file that is damaged does not stop the others, and another copy of it that comes later is
    taken. Every file appears complete or not at all, so that a run that was ended goes on.

    Args:
        published: The set.
        sources: Folders and archives.
        root: Folder of the prepared set.
        found: Is filled in.

    Raises:
        DataError: A source is missing, cannot be read at all, or none holds a file of the set.
        OSError: A file cannot be written.
    """
    parts = [part for source in sources for part in parts_of(source)]
    total = 2 * sum(published.counts.values())
    done: set[str] = set()
    with (
        draft_folder(root, '.prepare_') as draft,
        named_bar(published.name, total, unit='file') as bar,
    ):
        mosaics = PartCollection(published, draft)
        for part in parts:
            try:
                for member in members(part):
                    place = published.place(member.path)
                    if place is None or (key := published.target(place)) in done:
                        continue
                    if _make(published, member, place, root / key, draft, mosaics, found):
                        done.add(key)
                        bar.update()
            except DataError as err:
                if len(parts) == 1:
                    raise
                found.faults[str(part)] = str(err)
        found.faults = mosaics.missing() | found.faults
    if not done and not found.faults:
        msg = (
            f'{listed(sources)} holds no file of {published.name} as published: expected '
            f'{published.expected}'
        )
        raise DataError(msg)


def _make(
    published: PublishedSet,
    member: Member,
    place: Place,
    target: Path,
    draft: Path,
    mosaics: PartCollection,
    found: Preparation,
) -> bool:
    """
    Write a file, or find it there; return whether it is there afterwards.

    A mosaic is written with the last one of its parts.
    """
    key = published.target(place)
    try:
        if target.exists():
            if place.part:
                check_kept(published, place, target)
            else:
                _check_same(member, target, place)
            found.kept += 1
        elif not place.part:
            _write(published, member, target, place, draft)
            found.written += 1
        elif mosaics.add(member, place):
            mosaics.write(place, target)
            found.written += 1
        else:
            return False
    except DataError as err:
        text = str(err)
        names_it = not place.part or text.startswith(str(target))
        found.faults[key] = text if names_it else f'{key}: {text}'
        return False
    found.faults.pop(key, None)
    return True


def _check_same(member: Member, target: Path, place: Place) -> None:
    """Refuse an image that is there, but is another one than the source has."""
    size = target.stat().st_size
    if not place.is_label and size != member.size:
        msg = (
            f'{target} has {size} bytes, {member} has {member.size}: remove it, or choose another '
            'folder'
        )
        raise DataError(msg)


def _write(
    published: PublishedSet, member: Member, target: Path, place: Place, draft: Path
) -> None:
    if not place.is_label:
        with atomic_write(target) as unfinished:
            member.copy_to(unfinished)
        return
    if member.file is not None:
        ids = published.read_labels(member.file)
    else:
        unpacked = draft / Path(member.path).name
        try:
            member.copy_to(unpacked)
            ids = published.read_labels(unpacked)
        except DataError as err:
            # Nobody finds the draft afterwards.
            raise DataError(str(err).replace(str(unpacked), str(member))) from err
        finally:
            unpacked.unlink(missing_ok=True)
    write_image(target, ids)


def write_splits(published: PublishedSet, root: Path) -> None:
    """Write the list of the splits where the set needs one and there is none."""
    if not published.split_file or (root / published.split_file).exists():
        return
    splits: dict[str, list[str]] = {split: [] for split in published.counts}
    for name, split in published.names.items():
        splits[split].append(name)
    write_json(root / published.split_file, splits)


def missing_of(published: PublishedSet, root: Path) -> dict[str, str]:
    """
    Tell what the splits of a prepared folder lack, or have beyond what is published.

    Returns:
        Split -> in words; splits that are as published are left out.
    """
    told = {}
    for split, count in published.counts.items():
        names = {name for name, own in published.names.items() if own == split}
        # Where the splits share a folder, those of the others are there, too.
        others = set(published.names) - names if published.split_file else set()
        texts = []
        for kind, folder, end in (
            ('images', published.layout.images, published.layout.image_end),
            ('labels', published.layout.labels, published.layout.label_end),
        ):
            place = root / folder.format(split=split)
            there = (set(find(place, (end,))) if place.is_dir() else set()) - others
            texts += [_difference(kind, there, names, count)]
        if any(texts):
            told[split] = ', '.join(filter(None, texts))
    return told


def _difference(kind: str, there: set[str], names: set[str], count: int) -> str:
    """Compare what is there with the names, or where they are not known with their number."""
    lacking, beyond = sorted(names - there), sorted(there - names) if names else []
    if lacking:
        return f'{len(there - set(beyond))} of {count} {kind}, without {named(lacking)}'
    if beyond:
        return f'{len(beyond)} {kind} that are not of it: {named(beyond)}'
    return f'{len(there)} of {count} {kind}' if len(there) != count else ''
