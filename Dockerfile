# syntax=docker/dockerfile:1
# To have the same image again, name its base by digest: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# Of traces and sentry those that are wanted: --build-arg EXTRAS="traces sentry"
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ONLY_BINARY=:all: PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Every file that is installed is known by its hash, what builds the wheel included.
COPY requirements.txt ./
COPY deploy/requirements deploy/requirements
RUN python -m venv --without-pip /opt/harbor \
    && for each in requirements.txt $(printf "deploy/requirements/%s.txt " ${EXTRAS}); do \
        test "$each" = deploy/requirements/.txt \
        || pip --python /opt/harbor/bin/python install --require-hashes -r "$each" || exit 1; done
RUN python -m venv /opt/backend && /opt/backend/bin/pip install --require-hashes -r deploy/requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY alembic alembic
COPY openapi openapi
RUN /opt/backend/bin/pip wheel --no-index --no-build-isolation --no-deps --wheel-dir /wheels . \
    && pip --python /opt/harbor/bin/python install --no-index --no-deps /wheels/*.whl \
    && find /opt/harbor/lib -type d -name tests -prune -exec rm -r {} + \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/harbor/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="Harbor API" \
    org.opencontainers.image.description="A fleet operator's position service: signed fixes in, GeoJSON out" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
# A number, so that Kubernetes sees that it is not root's, and that volumes and secrets can be given to it.
RUN groupadd --gid 10001 harbor \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin harbor
COPY --from=build /opt/harbor /opt/harbor
# Nothing is written but below /tmp: the rest of the file system may be read-only.
ENV PATH=/opt/harbor/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HARBOR_BIND=0.0.0.0:8000
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
# That the process answers, whatever its database does: to restart it would mend nothing there.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-S", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["harbor-api", "serve"]
