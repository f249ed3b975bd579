# The image contains the installed package and its dependencies: no compiler, no clone, no secret.
# Every test runs on this version of Python.
FROM python:3.11-slim AS build
WORKDIR /source
RUN python -m venv /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY community_directory community_directory
# pip builds a wheel of the clone and installs it, with the same dependencies each time.
RUN --mount=type=cache,target=/root/.cache/pip \
    /app/bin/pip install --constraint constraints.txt '.[bot]'

FROM python:3.11-slim
RUN useradd --uid 1000 --user-group --no-create-home --shell /usr/sbin/nologin directory
COPY --from=build /app /app
# Piccolo imports black, which asks for a home directory.
ENV HOME=/tmp \
    PATH=/app/bin:$PATH \
    PICCOLO_CONF=community_directory.piccolo_conf \
    PYTHONUNBUFFERED=1
USER 1000:1000
# The user has no home: what a command writes is temporary, unless a volume is mounted.
WORKDIR /tmp
EXPOSE 8000
# /healthz answers while the process runs. /readyz asks the database too, which a restart of this
# container would not repair.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=1s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz')"]
ENTRYPOINT ["community-directory"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
