# The image of every role: `api` (the default) and `worker`. Build: docker build -t durable-orchestrator .

FROM python:3.11-slim-bookworm AS build
RUN pip install --no-cache-dir 'uv>=0.13,<0.14'
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_CACHE_DIR=/var/cache/uv \
    UV_PROJECT_ENVIRONMENT=/opt/orchestrator
WORKDIR /src
# The dependencies change less often than the code: a layer of their own.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --frozen --no-dev --extra postgres --no-install-project
COPY . .
RUN --mount=type=cache,target=/var/cache/uv \
    uv sync --frozen --no-dev --extra postgres --no-editable

FROM python:3.11-slim-bookworm
# httpx2 trusts the system's certificates, which slim images may lack.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --home-dir /data --create-home orchestrator
COPY --from=build /opt/orchestrator /opt/orchestrator
ENV PATH=/opt/orchestrator/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ORCHESTRATOR_DATA_DIR=/data \
    ORCHESTRATOR_HOST=0.0.0.0 \
    ORCHESTRATOR_PORT=8080 \
    ORCHESTRATOR_LOG_FORMAT=json
USER 10001
WORKDIR /data
EXPOSE 8080
# Roles drain on SIGTERM and are gone within 10 s.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/livez', timeout=2)"]
ENTRYPOINT ["orchestrator"]
CMD ["api"]
