# The controller. No compiler, no package manager's cache and no test tools in the image that runs.
ARG PYTHON=3.12
# A release gives this with its digest, so that the same image can be built again.
ARG BASE=python:${PYTHON}-slim

FROM ${BASE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements ./requirements
RUN python -m venv /opt/kroasync
RUN python -m venv builder
ENV PATH=/opt/kroasync/bin:$PATH
RUN pip install --require-hashes --requirement requirements/runtime.txt
RUN builder/bin/pip install --require-hashes --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY kroasync ./kroasync
RUN builder/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist .
RUN pip install --no-deps --no-index dist/*.whl
RUN python -m compileall -q /opt/kroasync/lib
RUN kroasync --version

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title=kroasync \
      org.opencontainers.image.description="Kubernetes controller that turns a short definition with CEL into a new API" \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.source=https://github.com/kroasync/kroasync \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}
COPY --from=build /opt/kroasync /opt/kroasync
ENV PATH=/opt/kroasync/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8078 8079
ENTRYPOINT ["kroasync"]
CMD ["run"]
