# syntax=docker/dockerfile:1

# The images of the service: `cpu` (the last stage, and therefore the default) and `cuda`. `loadtest` load tests both.
#   docker build --tag sentiment-conv1d .
#   docker build --tag sentiment-conv1d:cuda --target cuda .
ARG PYTHON_IMAGE=python:3.13-slim

# The native code is optional: without Debian's mirrors, the image runs ONNX Runtime's own operators and Python.
FROM ${PYTHON_IMAGE} AS native
COPY sentiment_conv1d/native /native
# hadolint ignore=DL3008
RUN { apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*; } || true \
 && python3 /native/compilation.py

FROM ${PYTHON_IMAGE} AS code
WORKDIR /srv/sentiment
COPY sentiment_conv1d sentiment_conv1d
COPY --from=native /native sentiment_conv1d/native
COPY server server
COPY service service
COPY model_repository model_repository
COPY pyproject.toml ./
COPY LICENSE NOTICE ./
# The service cannot write bytecode, and compiling at every start would take a second. Python does not compare the
# bytecode with its source, which does not change in an image.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash sentiment_conv1d server service

FROM ${PYTHON_IMAGE} AS environment
RUN python3 -m venv /opt/venv
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_REQUIRE_HASHES=1 PIP_ONLY_BINARY=:all:

# pip is removed from the environment, which does not need it; that of the base image remains. The tracing packages are
# included, so that setting SENTIMENT_TRACING turns tracing on.
FROM environment AS cpu-packages
COPY requirements/runtime.txt /tmp/
RUN /opt/venv/bin/pip install --requirement /tmp/runtime.txt && /opt/venv/bin/pip uninstall --yes pip

FROM environment AS cuda-packages
COPY requirements/cuda.txt /tmp/
RUN /opt/venv/bin/pip install --requirement /tmp/cuda.txt && /opt/venv/bin/pip uninstall --yes pip

FROM environment AS loadtest-packages
COPY requirements/loadtest.txt /tmp/
RUN /opt/venv/bin/pip install --requirement /tmp/loadtest.txt && /opt/venv/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE} AS runtime
ARG VERSION=development
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sentiment-conv1d" \
      org.opencontainers.image.description="The classic Conv1D text classifier over REST and gRPC, on ONNX Runtime" \
      org.opencontainers.image.licenses="Apache-2.0" \
      io.sentiment-conv1d.training-texts="The models were trained on texts with other terms. Of reviews: mostly without a \
licence to pass them on, several for research or not for commercial use. Of accurate, imdb-cnn and imdb-cnn-8bit: IMDB, for \
research, no licence stated. The manifests and NOTICE name the sources." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Callers of a container are outside it, so it listens on all of its addresses.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SENTIMENT_HOST=0.0.0.0
WORKDIR /srv/sentiment
# The user is a number, so that Kubernetes can verify that it is not root.
USER 10001:10001
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["python", "-m", "service.process.probe"]
ENTRYPOINT ["python", "-m", "service"]
CMD ["serve"]

FROM runtime AS cuda
# NVIDIA's container toolkit adds these parts of the host's driver: the CUDA library and nvidia-smi.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=cuda-packages /opt/venv /opt/venv
COPY --from=code /srv/sentiment /srv/sentiment

# The load test: docker build --target loadtest .
FROM runtime AS loadtest
COPY --from=loadtest-packages /opt/venv /opt/venv
COPY --from=code /srv/sentiment /srv/sentiment
COPY loadtest loadtest
# Matplotlib writes a cache, and the user need not have a home. OpenBLAS would start a thread per processor of the host in
# every process, and the container's limit of processes also counts threads.
ENV MPLCONFIGDIR=/tmp/matplotlib \
    OPENBLAS_NUM_THREADS=1
ENTRYPOINT ["python", "-m", "loadtest"]
CMD ["run"]
HEALTHCHECK NONE

FROM runtime AS cpu
COPY --from=cpu-packages /opt/venv /opt/venv
COPY --from=code /srv/sentiment /srv/sentiment
