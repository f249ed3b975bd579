# The image contains the installed package and what it depends on: no compiler, no clone, no secret.
# Python 3.11 is the version that every test runs on.
FROM python:3.11-slim AS build
WORKDIR /source
RUN python -m venv /app
COPY pyproject.toml README.md LICENSE ./
COPY community_directory community_directory
# pip builds a wheel of the clone and installs it.
RUN --mount=type=cache,target=/root/.cache/pip /app/bin/pip install .

FROM python:3.11-slim
RUN useradd --system --uid 999 --user-group --no-create-home --shell /usr/sbin/nologin directory
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PICCOLO_CONF=community_directory.piccolo_conf \
    PYTHONUNBUFFERED=1
USER 999:999
# The user has no home: what a command writes is temporary, unless a volume is mounted.
WORKDIR /tmp
EXPOSE 8000
# /healthz answers while the process lives; /readyz also asks the database, which a restart of this
# container would not repair.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=1s \
    CMD ["python", "-c", "import os, urllib.request; port = os.environ.get('DIRECTORY_PORT') or 8000; urllib.request.urlopen(f'http://127.0.0.1:{port}/healthz', timeout=4)"]
ENTRYPOINT ["community-directory"]
CMD ["serve", "--host", "0.0.0.0"]
