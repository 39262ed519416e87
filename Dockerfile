# syntax=docker/dockerfile:1
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
COPY requirements/runtime.txt /tmp/runtime.txt
# pip serves no purpose once the packages are in; without it there is nothing in the image that installs anything.
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/runtime.txt \
    && /opt/venv/bin/pip uninstall --yes pip
WORKDIR /srv/sentiment
COPY model model
COPY service service
COPY model_repository model_repository
# Bytecode is made here, because the service cannot write it: compiling at every start would cost a second.
RUN /opt/venv/bin/python -m compileall -q model service

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="sentiment-conv1d" \
      org.opencontainers.image.description="The classic Conv1D text classifier over REST and gRPC, on ONNX Runtime" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/sentiment /srv/sentiment
WORKDIR /srv/sentiment
USER 10001:10001
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["python", "-m", "service.probe"]
ENTRYPOINT ["python", "-m", "service"]
CMD ["serve"]
