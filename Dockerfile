# The images of Coffer, one target each: operator, guest-mariadb, guest-redis.
#
#   docker build --target operator -t coffer/operator .
#
# Layers go from the slowest to change to the fastest: Debian with Python (shared by all), locked
# packages (shared by the guests), engine, its empty data directory, our code. What builds stays in
# stages of its own. Where a proxy in between has its own certificate authority, add
# `--secret id=ca_bundle,src=<bundle.pem>`.

FROM docker.io/library/debian:bookworm-slim AS base
# LANG spares every interpreter the coercion of the C locale at its start.
ENV LANG=C.UTF-8 \
    PATH=/opt/coffer/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONSAFEPATH=1
RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get -q -o Acquire::Retries=1 update \
    && apt-get -q -o Acquire::Retries=1 install -y --no-install-recommends python3 tini \
    && rm -rf /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* \
        /var/lib/apt/lists/* /var/lib/dpkg/*-old /var/log/*
WORKDIR /

# --- what builds, and stays behind ---------------------------------------------------------------
FROM base AS tools
RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get -q -o Acquire::Retries=1 update \
    && apt-get -q -o Acquire::Retries=1 install -y --no-install-recommends python3-venv \
    && python3 -m venv /opt/build \
    && python3 -m venv --without-pip /opt/coffer
# Bytecode is compiled here, for a root file system that is read-only and interpreters that start
# often; "unchecked" spares them a look at each source file.
ENV COMPILE="python3 -m compileall -q --invalidation-mode unchecked-hash" \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_RETRIES=1 \
    PIP_ROOT_USER_ACTION=ignore
COPY requirements/build.txt /src/requirements/
RUN --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    /opt/build/bin/pip install --require-hashes -r /src/requirements/build.txt

FROM tools AS packages-operator
COPY requirements/operator.txt /src/requirements/
# The client's generated models and calls, a third of all bytecode, are never imported.
RUN --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    /opt/build/bin/pip --python /opt/coffer/bin/python install --no-compile \
        --require-hashes -r /src/requirements/operator.txt \
    && $COMPILE -x '/kubernetes/(aio/)?client/(api|models)/' /opt/coffer/lib

FROM tools AS packages-guest
COPY requirements/guest.txt /src/requirements/
RUN --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    /opt/build/bin/pip --python /opt/coffer/bin/python install --no-compile \
        --require-hashes -r /src/requirements/guest.txt \
    && find /opt/coffer/lib/python3*/site-packages/botocore/data -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 -exec rm -r {} + \
    && $COMPILE /opt/coffer/lib

# Each image has only the packages that it runs: an edit of the operator makes no new guest. README
# and crds, which pyproject.toml names, may be empty for the same reason.
FROM tools AS code-operator
LABEL coffer.dev/stage=scratch
COPY LICENSE pyproject.toml /src/
COPY crds /src/crds
COPY templates /src/templates
COPY common/src /src/common/src
COPY operator/src /src/operator/src
RUN cd /src && touch README.md \
    && /opt/build/bin/python -m hatchling build -t wheel -d /dist \
    && /opt/build/bin/pip --python /opt/coffer/bin/python install --no-compile \
        --no-deps --no-index --no-warn-script-location --root /out /dist/*.whl \
    && cd /out/opt/coffer/bin && rm coffer-guest coffer-launcher kubectl-coffer kubectl_complete-coffer \
    && $COMPILE /out && find /out -exec touch -hd @0 {} +

FROM tools AS code-guest
LABEL coffer.dev/stage=scratch
COPY LICENSE pyproject.toml /src/
COPY templates /src/templates
COPY common/src /src/common/src
COPY guest_sidecar/src /src/guest_sidecar/src
RUN cd /src && touch README.md && mkdir crds \
    && /opt/build/bin/python -m hatchling build -t wheel -d /dist \
    && /opt/build/bin/pip --python /opt/coffer/bin/python install --no-compile \
        --no-deps --no-index --no-warn-script-location --root /out /dist/*.whl \
    && cd /out/opt/coffer/bin && rm coffer-operator kubectl-coffer kubectl_complete-coffer \
    && $COMPILE /out && find /out -exec touch -hd @0 {} +

# --- operator ------------------------------------------------------------------------------------
FROM base AS operator
COPY --from=packages-operator /opt/coffer /opt/coffer
COPY --from=code-operator /out /
USER 65532:65532
CMD ["tini", "--", "coffer-operator"]

# --- guests --------------------------------------------------------------------------------------
FROM base AS guest
# The engines' local accounts are named after the system user.
RUN echo 'coffer:x:999:' >>/etc/group \
    && echo 'coffer:x:999:999:Coffer:/nonexistent:/usr/sbin/nologin' >>/etc/passwd
COPY --from=packages-guest /opt/coffer /opt/coffer

FROM guest AS engine-mariadb
# mariadb-dump alone of mariadb-client, which depends on Perl.
RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get -q -o Acquire::Retries=1 update \
    && apt-get -q -o Acquire::Retries=1 install -y --no-install-recommends \
        mariadb-server-core mariadb-client-core mariadb-backup \
    && cd /tmp && apt-get -q -o Acquire::Retries=1 download mariadb-client \
    && dpkg-deb --fsys-tarfile mariadb-client_*.deb | tar -x -C / ./usr/bin/mariadb-dump \
    && rm mariadb-client_*.deb && mariadb-dump --version \
    && install -d -o 999 -g 999 /usr/share/coffer/mariadb/data \
    && rm -rf /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* \
        /var/lib/apt/lists/* /var/lib/dpkg/*-old /var/log/*

# Only what initialises a data directory is copied: other edits leave this layer as it is.
FROM engine-mariadb AS data-mariadb
COPY common/src /code
COPY guest_sidecar/src/coffer_guest/engines /code/coffer_guest/engines
USER 999:999
RUN PYTHONPATH=/code python -c "from pathlib import Path; \
from coffer_guest.engines.base import load; \
load('mariadb').initialise(Path('/usr/share/coffer/mariadb/data'))"

FROM engine-mariadb AS guest-mariadb
COPY --from=data-mariadb /usr/share/coffer/mariadb /usr/share/coffer/mariadb
COPY --from=code-guest /out /
USER 999:999
CMD ["tini", "--", "coffer-guest"]

FROM guest AS guest-redis
# redis-tools has the server's one binary under another name; Redis starts from an empty directory.
RUN export DEBIAN_FRONTEND=noninteractive \
    && apt-get -q -o Acquire::Retries=1 update \
    && apt-get -q -o Acquire::Retries=1 install -y --no-install-recommends redis-tools \
    && ln -s redis-check-rdb /usr/bin/redis-server \
    && install -d -o 999 -g 999 /usr/share/coffer/redis/data \
    && rm -rf /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* \
        /var/lib/apt/lists/* /var/lib/dpkg/*-old /var/log/*
COPY --from=code-guest /out /
USER 999:999
CMD ["tini", "--", "coffer-guest"]
