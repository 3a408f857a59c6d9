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

"""Two calls of every command, at the end of its `--help`; a test parses them all."""

from __future__ import annotations

#: Command with its subcommands -> what follows it.
EXAMPLES: dict[str, tuple[str, str]] = {
    'segment': (
        'IMG_0001.JPG IMG_0002.JPG --bundle hlrc_s_aerial --output out',
        'IMG_0001.JPG --bundle run/bundle --output out --refine random_walker',
    ),
    'batch': (
        "'flights/**/*.jpg' --output masks",
        'flights.txt s3://bucket/mosaics/*.tif --output /mnt/shared/masks --on ray --address auto',
    ),
    'convert': (
        'run/last.pth --output model',
        'hlrc.pth --network hlrc_cityscapes --output model --classes cityscapes',
    ),
    'wrap': (
        'unet.onnx --inspect',
        'unet.onnx --classes classes.yaml --mean 0.485 0.456 0.406 --std 0.229 0.224 0.225 '
        '--image IMG_0001.JPG --output model',
    ),
    'train': (
        '--config config/train/folder.yaml --root my_images --output run',
        '--config config/train/folder.yaml --root my_images --output run --resume --minutes 50',
    ),
    'quantize': (
        '--bundle hlrc_s_aerial --frames my_flight.mcap --output hlrc_s_int8',
        '--bundle run/bundle --frames photographs --default',
    ),
    'build': (
        '--bundle hlrc_s_aerial --size 3840x2160',
        '--bundle hlrc_s_aerial --size 3840x2160 --precision int8 --frames my_flight.mcap',
    ),
    'cache list': ('', '--cache /data/engines'),
    'cache prune': ('', '--keep-mb 2000'),
    'evaluate': (
        '--bundle run/bundle --root my_images',
        '--bundle hlrc_cityscapes --dataset cityscapes --root CITYSCAPES --split val '
        '--output counts --workers 4',
    ),
    'prepare': (
        'inria NEW2-AerialImageDataset.zip InriaAerial',
        'cityscapes leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip CITYSCAPES',
    ),
    'labels': (
        'labelme_files --root my_images --classes classes.yaml',
        'annotations.xml --root my_images --classes classes.yaml --background land',
    ),
    'distill': (
        '--teacher-masks teacher --root my_images --classes classes.yaml',
        '--teacher-masks teacher --root my_images --least-confidence 0.9',
    ),
    'novelty fit': (
        '--bundle run/bundle --frames photographs',
        '--bundle run/bundle --frames photographs --held-out other_photographs',
    ),
    'novelty check': (
        '--bundle hlrc_s_aerial --frames my_flight.mcap',
        '--bundle run/bundle --frames photographs --parts 8',
    ),
    'budget fit': (
        '--bundle run/bundle --frames photographs',
        '--bundle run/bundle --frames my_flight.mcap --steps 500',
    ),
    'budget curve': (
        '--bundle hlrc_s_aerial --root MOSAICS',
        '--bundle run/bundle --root my_images --json curve.json --chart curve.svg',
    ),
    'budget flicker': (
        '--bundle hlrc_s_aerial --image mosaic.jpg',
        '--bundle hlrc_s_aerial --image mosaic.jpg --size 3840x2160 --detail-share 0.4',
    ),
    'budget time': (
        '--bundle hlrc_s_aerial --image mosaic.jpg',
        '--bundle hlrc_s_aerial --image mosaic.jpg --size 7680x4320 --threads 4',
    ),
    'compare': (
        '--plan config/compare/aerial.yaml --root MOSAICS --output comparison',
        '--plan config/compare/aerial.yaml --root MOSAICS --output comparison --minutes 60',
    ),
    'benchmark stages': ('', '--size 7680x4320 --precision int8 --threads 4 --json stages.json'),
    'benchmark node': (
        '--bundle run/bundle --size 1920x1080 --rate 2',
        "my_flight.mcap --command 'ros2 run their_pkg node --ros-args -r image:={image_topic}' "
        '--mask-topic /their_node/mask --rate peak --json theirs.json --compare ours.json',
    ),
    'benchmark transport': ('', '--size 7680x4320 --rate 2 --repeat 20'),
    'benchmark cloud': ('', '--points 130000 --size 3840x2160'),
    'benchmark torch': (
        '--network hlrc_s --size 1920x1080',
        '--network hlrc_cityscapes --processes 1 --json torch.json',
    ),
    'benchmark graphs': ('', '--bundle hlrc_s_aerial --size 3840x2160 --precision int8'),
    'benchmark roofline': ('', '--repeat 3 --chart roofline.svg'),
    'benchmark bag': (
        'my_flight.mcap',
        'my_flight.mcap --rate peak --report report.html --json figures.json',
    ),
    'benchmark offline': (
        'my_flight.mcap --output with_masks',
        'my_flight.mcap --output with_masks --topic /camera/image_raw --precision int8',
    ),
    'benchmark make-bag': (
        '--output flight',
        '--output flight --size 1920x1080 --rate 5 --duration 10 --compressed',
    ),
    'benchmark compare': ('before.json after.json', 'ours.json theirs.json another.json'),
    'demo': ('', 'mosaic.jpg --count 24 --output out/mosaic'),
}


def examples_of(program: str) -> list[str]:
    """Return whole commands, by what the parser of one is called, as `uhr_seg budget fit`."""
    first, _, command = program.partition(' ')
    return [f'{first} {command} {words}'.rstrip() for words in EXAMPLES.get(command, ())]
