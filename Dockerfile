FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements.txt ./
RUN python -m venv /opt/harbor && /opt/harbor/bin/pip install --no-cache-dir --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY alembic alembic
COPY openapi openapi
RUN /opt/harbor/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
COPY --from=build /opt/harbor /opt/harbor
ENV PATH=/opt/harbor/bin:$PATH HARBOR_BIND=0.0.0.0:8000
RUN useradd --system --no-create-home harbor
USER harbor
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
CMD ["harbor-api", "serve"]
