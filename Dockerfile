# The controller. The image that runs has Python, what kroasync needs, and nothing that builds, installs or tests.
ARG PYTHON=3.12
# A release gives both with their digests, so that the same image can be built again.
ARG BASE=python:${PYTHON}-slim
ARG BUILDER=python:${PYTHON}

FROM ${BASE} AS root
# Paths are relative, because tests run the steps in another folder.
WORKDIR /
RUN rm -rf usr/local/bin/pip* usr/local/bin/idle* usr/local/bin/2to3* usr/local/lib/python3*/site-packages/pip*
RUN for lib in usr/lib/python3* usr/local/lib/python3*; do \
    rm -rf $lib/ensurepip $lib/idlelib $lib/lib2to3 $lib/test $lib/turtledemo; done
# A read-only root cannot keep compiled files, so they are in the image, and valid whatever becomes of the times of files.
RUN python -m compileall -q -f --invalidation-mode unchecked-hash usr/

FROM ${BUILDER} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements ./requirements
# The environment of the controller has no pip: that of the builder installs into both.
RUN python -m venv --without-pip /opt/kroasync
RUN python -m venv builder
RUN PIP_PYTHON=/opt/kroasync/bin/python builder/bin/pip install --no-compile --require-hashes --requirement requirements/runtime.txt
RUN builder/bin/pip install --require-hashes --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY kroasync ./kroasync
RUN builder/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist .
RUN PIP_PYTHON=/opt/kroasync/bin/python builder/bin/pip install --no-compile --no-deps --no-index dist/*.whl
RUN find /opt/kroasync/lib -depth \( -type d -name tests -o -type f -name '*_test.py' \) -exec rm -rf {} +
# Symbols for debuggers are 25 MB of the 36 MB of libraries.
RUN find /opt/kroasync/lib -name '*.so*' -type f -exec strip --strip-unneeded {} +
RUN /opt/kroasync/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/kroasync/lib
RUN /opt/kroasync/bin/python -c "import kroasync.app"
RUN /opt/kroasync/bin/kroasync --version

# One layer: what was removed is not in the image.
FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title=kroasync \
      org.opencontainers.image.description="Kubernetes controller that turns a short definition with CEL into a new API" \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.source=https://github.com/kroasync/kroasync \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}
COPY --from=root / /
COPY --from=build /opt/kroasync /opt/kroasync
ENV PATH=/opt/kroasync/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8078 8079
ENTRYPOINT ["kroasync"]
CMD ["run"]
