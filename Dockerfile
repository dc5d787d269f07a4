# The images of Coffer, one target each: operator, guest-mariadb, guest-redis.
#
#   docker build --target operator -t coffer/operator .
#
# Layers from the slowest to change to the fastest: Debian and Python (shared by all), locked
# packages (shared by the guests), engine, our code. Nothing that builds reaches a final stage.
# Behind a proxy with its own authority add `--secret id=ca_bundle,src=<bundle.pem>`.

FROM docker.io/library/debian:bookworm-slim AS base
# LANG spares every interpreter the coercion of the C locale.
ENV LANG=C.UTF-8 PATH=/opt/coffer/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN set -eux; export DEBIAN_FRONTEND=noninteractive; \
    apt-get update -o Acquire::Retries=1; \
    apt-get install -y --no-install-recommends -o Acquire::Retries=1 python3; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* \
        /var/lib/dpkg/*-old /var/log/*
WORKDIR /

# --- what builds, and stays behind -----------------------------------------------------------
FROM base AS tools
RUN set -eux; export DEBIAN_FRONTEND=noninteractive; \
    apt-get update -o Acquire::Retries=1; \
    apt-get install -y --no-install-recommends -o Acquire::Retries=1 python3-venv; \
    python3 -m venv /opt/build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_COMPILE=1 PIP_RETRIES=3
COPY requirements/build.txt /src/requirements/
RUN --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    set -eux; \
    /opt/build/bin/pip install --require-hashes --only-binary=:all: \
        -r /src/requirements/build.txt; \
    python3 -m venv --without-pip /opt/coffer

FROM tools AS packages-operator
COPY requirements/operator.txt /src/requirements/
RUN --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    set -eux; \
    /opt/build/bin/pip --python /opt/coffer/bin/python install --require-hashes \
        --only-binary=:all: -r /src/requirements/operator.txt; \
    python3 -m compileall -q --invalidation-mode unchecked-hash /opt/coffer/lib

FROM tools AS packages-guest
COPY requirements/guest.txt /src/requirements/
RUN --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    set -eux; \
    /opt/build/bin/pip --python /opt/coffer/bin/python install --require-hashes \
        --only-binary=:all: -r /src/requirements/guest.txt; \
    python3 -m compileall -q --invalidation-mode unchecked-hash /opt/coffer/lib

FROM tools AS code-guest
COPY LICENSE pyproject.toml /src/
COPY templates /src/templates
COPY common/src /src/common/src
COPY guest_sidecar/src /src/guest_sidecar/src
RUN set -eux; cd /src; mkdir -p crds; touch README.md; \
    /opt/build/bin/python -m hatchling build -t wheel -d /dist; \
    /opt/build/bin/pip --python /opt/coffer/bin/python install --no-deps --no-index --root /out /dist/*.whl; \
    python3 -m compileall -q --invalidation-mode unchecked-hash /out; \
    find /out -exec touch -hd @0 {} +

FROM tools AS code-operator
COPY LICENSE pyproject.toml /src/
COPY templates /src/templates
COPY common/src /src/common/src
COPY crds /src/crds
COPY operator/src /src/operator/src
RUN set -eux; cd /src; mkdir -p crds; touch README.md; \
    /opt/build/bin/python -m hatchling build -t wheel -d /dist; \
    /opt/build/bin/pip --python /opt/coffer/bin/python install --no-deps --no-index --root /out /dist/*.whl; \
    python3 -m compileall -q --invalidation-mode unchecked-hash /out; \
    find /out -exec touch -hd @0 {} +

# --- operator --------------------------------------------------------------------------------
FROM base AS operator
ENV PYTHONSAFEPATH=1
COPY --from=packages-operator /opt/coffer /opt/coffer
COPY --from=code-operator /out /
USER 65532:65532
CMD ["coffer-operator"]

# --- guests ----------------------------------------------------------------------------------
FROM base AS guest
ENV PYTHONSAFEPATH=1
RUN echo 'coffer:x:999:' >>/etc/group; \
    echo 'coffer:x:999:999:Coffer:/nonexistent:/usr/sbin/nologin' >>/etc/passwd
COPY --from=packages-guest /opt/coffer /opt/coffer

FROM guest AS guest-mariadb
RUN set -eux; export DEBIAN_FRONTEND=noninteractive; \
    apt-get update -o Acquire::Retries=1; \
    apt-get install -y --no-install-recommends -o Acquire::Retries=1 \
        mariadb-server-core mariadb-client-core mariadb-backup; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* \
        /var/lib/dpkg/*-old /var/log/*
COPY --from=code-guest /out /
USER 999:999
CMD ["coffer-guest"]

FROM guest AS guest-redis
RUN set -eux; export DEBIAN_FRONTEND=noninteractive; \
    apt-get update -o Acquire::Retries=1; \
    apt-get install -y --no-install-recommends -o Acquire::Retries=1 redis-tools; \
    ln -s redis-check-rdb /usr/bin/redis-server; \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* \
        /var/lib/dpkg/*-old /var/log/*
COPY --from=code-guest /out /
USER 999:999
CMD ["coffer-guest"]
