# syntax=docker/dockerfile:1.7
# The CPU image: `carclf serve`, and every other command that does not train. `docker build -t carclf .`
# From the light install: no torch. `python benchmarks/install_size.py --image` adds up what is in it. To train, take the
# image of Dockerfile.gpu, which needs no GPU.

FROM python:3.12.11-slim-bookworm AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/venv/bin:$PATH
RUN python -m venv /opt/venv
COPY docker/requirements.txt /build/docker/
# The tests of pandas are half of it.
RUN pip install -r /build/docker/requirements.txt \
    && rm -r /opt/venv/lib/python3.12/site-packages/pandas/tests

# Its own stage and folder: a change of our code is a small layer, not one of all packages.
FROM packages AS carclf
WORKDIR /build
RUN pip install setuptools==80.10.2 wheel==0.45.1
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
    ORT_DISABLE_TELEMETRY=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["carclf"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
