# syntax=docker/dockerfile:1.7
# The CPU image: `carclf serve`, and every other command. `docker build -t carclf .`
# To train in it: `docker run --shm-size=1g`, as Docker's 64 MB of shared memory are little for batches of photos.

FROM python:3.12.11-slim-bookworm AS packages
# The address of PyTorch's index of builds for the CPU makes the image several gigabytes smaller.
ARG TORCH_INDEX=
ARG TORCH=2.15.0
ARG TORCHVISION=0.29.2
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/venv/bin:$PATH
RUN python -m venv /opt/venv
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "torch==$TORCH" "torchvision==$TORCHVISION"
COPY docker/requirements.txt /build/docker/
RUN pip install -r /build/docker/requirements.txt wheel==0.45.1
COPY scripts/install_detectron2.py /build/scripts/
RUN python /build/scripts/install_detectron2.py --source pypi

# Its own stage and folder: a change of our code is a small layer, not one of all packages.
FROM packages AS carclf
WORKDIR /build
COPY setup.py pyproject.toml README.md LICENSE ./
COPY configs configs
COPY detection detection
COPY carclf carclf
RUN pip install --no-deps --no-build-isolation --prefix=/opt/carclf .

FROM python:3.12.11-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin carclf
COPY --from=packages /opt/venv /opt/venv
COPY --from=carclf /opt/carclf /opt/carclf
ENV PATH=/opt/carclf/bin:/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/carclf/lib/python3.12/site-packages \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp \
    HF_HUB_OFFLINE=1 \
    NO_ALBUMENTATIONS_UPDATE=1 \
    ORT_DISABLE_TELEMETRY=1 \
    HF_HUB_DISABLE_TELEMETRY=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["carclf"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
