# A shop in one image: the server, its workers and their engine. Build it with `docker build .`. It runs without root and
# with a read-only file system; docs/deploy.md explains how to run it. The digest of the base image is that of its tag on
# the day of the last update, for all platforms; Dependabot keeps both lines up to date.

FROM docker.io/library/python:3.11-slim-bookworm@sha256:fe556eaffd0d96abd8685b83bb8a69addd0dc730fa193669a7df0d49ddcfac02 AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv/satsuma
COPY requirements/run.txt requirements/
# Wheels only, each checked by its hash. pip is removed, since the image does not need it.
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/run.txt \
 && /opt/venv/bin/python -m pip uninstall --quiet --yes pip setuptools
COPY manage.py ./
COPY config config
COPY shop shop
COPY contexts contexts
COPY ops ops
# collectstatic loads the settings but uses none of their values, so these secrets are temporary.
RUN /opt/venv/bin/python -m ops.launch.keys /tmp/keys \
 && SECRET_KEY_FILE=/tmp/keys/keys/SECRET_KEY JWT_SIGNING_KEY_FILE=/tmp/keys/keys/JWT_SIGNING_KEY \
    DATABASE_URL=postgres://nowhere/postgres STATIC_ROOT=/srv/static \
    /opt/venv/bin/python manage.py collectstatic --no-input --verbosity 0 \
 && rm -r /tmp/keys \
 && /opt/venv/bin/python -m compileall -q . \
 && chmod -R a+rX /srv

FROM docker.io/library/python:3.11-slim-bookworm@sha256:fe556eaffd0d96abd8685b83bb8a69addd0dc730fa193669a7df0d49ddcfac02

LABEL org.opencontainers.image.title="Satsuma" \
      org.opencontainers.image.description="An e-commerce back end whose contexts can be moved to their own servers"
ENV PATH=/srv/satsuma:/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 STATIC_ROOT=/srv/static PORT=8000
# The folders of `python -m ops.launch.keys`: a new volume that is mounted there gets their owner and mode.
RUN groupadd --gid 10001 satsuma \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin satsuma \
 && install --directory --owner=10001 --group=10001 --mode=0700 \
      /var/lib/satsuma /var/lib/satsuma/keys /var/lib/satsuma/shared /var/lib/satsuma/contexts /var/lib/satsuma/database
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv /srv
WORKDIR /srv/satsuma
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=4)"]
# Other commands replace it: `docker run satsuma manage.py migrate`, `manage.py engine`, …
CMD ["python", "-m", "ops.launch.serve"]
