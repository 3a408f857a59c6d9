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

"""Build recipe for colcon (ament_python) and for pip."""

import os

from setuptools import find_packages, setup

PACKAGE = 'uhr_seg_ros'
SHARE = os.path.join('share', PACKAGE)

# ROS 2 as wheels, for a machine without a ROS installation (x86-64 only). Where ROS 2 comes from
# the distribution, leave this extra out.
ROS_WHEELS = [
    'ros-rclpy[fastrtps]',
    'ros-diagnostic-msgs',
    'ros-lifecycle-msgs',
    'ros-nav-msgs',
    'ros-rcl-interfaces',
    'ros-sensor-msgs',
    'ros-std-msgs',
    'ros-std-srvs',
]

# Boundaries by random walk.
REFINEMENT = ['scipy', 'threadpoolctl']

# Recordings: rosbags, and what it brings that is called directly, too.
RECORDINGS = ['rosbags', 'apsw', 'backports.zstd; python_version < "3.14"', 'lz4']

# Rasters of any size, with their place on the map, and polygons of them.
RASTERS = ['rasterio', 'pyogrio', 'shapely']

# What builds engines and kernels without a GPU, for the tests (x86-64 only).
BUILDERS = [
    'nvidia-cuda-nvrtc-cu12; platform_machine == "x86_64"',
    'tensorrt-rtx; platform_machine == "x86_64"',
]

# Independent implementations that metrics and readers are checked against.
JUDGES = ['pillow', 'scikit-image', 'scikit-learn', 'tifffile']

# What runs the tests, and checks style and layers without importing anything.
RUNNERS = [
    'hypothesis',
    'import-linter',
    'pytest',
    'pytest-cov',
    'pytest-randomly',
    'pytest-timeout',
    'pytest-xdist',
    'ruff',
]


def installed_tree(folder: str) -> list[tuple[str, list[str]]]:
    """List every file below a folder as data_files, one entry per directory."""
    return [
        (os.path.join(SHARE, root), [os.path.join(root, name) for name in sorted(names)])
        for root, _, names in sorted(os.walk(folder))
        if names and '__pycache__' not in root
    ]


setup(
    name=PACKAGE,
    version='0.1.0',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['py.typed'], f'{PACKAGE}.backends.tensorrt': ['kernels.cu']},
    data_files=[
        ('share/ament_index/resource_index/packages', [os.path.join('resource', PACKAGE)]),
        (SHARE, ['LICENSE', 'package.xml']),
        *installed_tree('config'),
        *installed_tree('launch'),
        *installed_tree('models'),
    ],
    python_requires='>=3.10',
    # Low floors: under ROS 2 Humble numpy and PyYAML are the distribution's own.
    install_requires=['numpy>=1.21', 'onnxruntime>=1.16', 'PyYAML>=5.4', 'simplejpeg>=1.9'],
    extras_require={
        # An extra, because pip does not see a distribution's python3-opencv and would put a
        # second OpenCV beside it. Headless: no window is ever opened, and the full wheel brings
        # GUI libraries that a robot or a CI machine does not have.
        'opencv': ['opencv-python-headless'],
        'ros': ROS_WHEELS,
        'refine': REFINEMENT,
        # TensorRT itself comes with JetPack, or as tensorrt or tensorrt-rtx; pycuda is compiled on
        # the machine and needs CUDA's headers.
        'gpu': ['nvidia-ml-py', 'onnx', 'pycuda'],
        'demo': ['matplotlib', 'psutil', 'rich', 'tqdm', *RECORDINGS, *REFINEMENT],
        'workshop': [
            'matplotlib',
            'onnx',
            'onnxscript',
            'rich',
            'safetensors',
            'scipy',
            'tensorboard',
            'torch',
            'tqdm',
        ],
        'rasters': RASTERS,
        # H.264 and H.265: cameras, recordings, video files.
        'video': ['av>=14'],
        # Many recordings, rasters and folders on several machines: uhr_seg batch --on ray.
        'fleet': ['fsspec', 'pyarrow', 'ray'],
        # Networks of others, to compare with.
        'baselines': ['transformers'],
        # Tests of what runs on a robot: no torch, and no builders.
        'test-robot': ['onnx', *RUNNERS, *JUDGES],
        'test': ['mypy', 'types-PyYAML', *RUNNERS, *JUDGES, *BUILDERS],
        # The API reference: scripts/docs.
        'docs': ['myst-parser', 'sphinx'],
    },
    zip_safe=False,
    author='uhr_seg_ros contributors',
    maintainer='uhr_seg_ros contributors',
    maintainer_email='maintainers@uhr-seg.invalid',
    description='Semantic segmentation of ultra-high-resolution camera images for ROS 2.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'segmentation_node = uhr_seg_ros.ros.node:main',
            'uhr_seg = uhr_seg_ros.cli.main:main',
        ],
    },
)
