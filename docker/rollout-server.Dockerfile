# The rollout server: vLLM, built for a GPU or (DEVICE=cpu) for a CPU. Arguments: docker/README.md.
ARG BASE=python:3.11.14-slim-bookworm
ARG DEVICE=gpu

# hadolint ignore=DL3006
FROM ${BASE} AS base
ARG CERTIFICATES=docker/certificates
COPY ${CERTIFICATES}/ /usr/local/share/ca-certificates/
RUN update-ca-certificates \
    && groupadd --gid 10001 ireasoner \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /cache ireasoner \
    && install -d -o 10001 -g 10001 /adapters /cache
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt

FROM base AS build
WORKDIR /build
ARG DEVICE
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS=/wheels
ARG TORCH_CPU=torch==2.13.0+cpu
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
COPY constraints.txt constraints-gpu.txt hatch_build.py pyproject.toml ./
COPY clients/pyproject.toml clients/
# The dependencies, as one layer that the sources do not touch: the projects, still empty, ask for them.
RUN --mount=type=bind,source=docker/wheels,target=/wheels \
    python3 -m venv --without-pip /opt/venv \
    && touch LICENSE NOTICE README.md clients/LICENSE clients/README.md \
    && { [ "$DEVICE" != cpu ] \
        || pip --python /opt/venv/bin/python install --constraint constraints.txt "$TORCH_CPU" \
        || pip --python /opt/venv/bin/python install --constraint constraints.txt \
            --extra-index-url "$TORCH_INDEX_URL" "$TORCH_CPU"; } \
    && { [ "$DEVICE" = cpu ] || mv constraints-gpu.txt constraints.txt; } \
    && pip --python /opt/venv/bin/python install --constraint constraints.txt ./clients \
        ".[rollout-server,$DEVICE]" \
    && { [ "$DEVICE" = cpu ] || /opt/venv/bin/python -c \
        'import torch; assert torch.version.cuda, "torch is a build for a CPU: take it out of docker/wheels"'; }
COPY LICENSE NOTICE README.md ./
COPY clients clients
COPY cli cli
COPY compat compat
COPY services/rollout_server services/rollout_server
RUN pip --python /opt/venv/bin/python install --no-deps --force-reinstall ./clients .

FROM base AS runtime
ARG DEBIAN_MIRROR
RUN [ -z "$DEBIAN_MIRROR" ] \
    || find /etc/apt -name '*sources*' -type f -exec sed -Ei "s|https?://[a-z.]*debian\.org|$DEBIAN_MIRROR|" {} +

# vLLM's CPU build is linked against it.
FROM runtime AS runtime-cpu
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libnuma1 \
    && rm -rf /var/lib/apt/lists/*

# On a GPU, Triton and torch.compile build launchers when they are first called, against Python's headers: this
# variant alone cannot do without a compiler. The headers are there unless the base's Python is Debian's own.
FROM runtime AS runtime-gpu
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && { [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] \
        || apt-get install --yes --no-install-recommends libpython3-dev; } \
    && rm -rf /var/lib/apt/lists/*

# hadolint ignore=DL3006
FROM runtime-${DEVICE}
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="iReasoner rollout server" \
      org.opencontainers.image.description="vLLM's OpenAI-compatible server with adapters that come and go." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY docker/ready /usr/local/bin/
COPY trainer/ireasoner/trainer/commands/demo_model /opt/ireasoner/models/digit-grids
COPY --from=build /opt/venv /opt/venv
USER 10001:10001
WORKDIR /opt/ireasoner
EXPOSE 8020
ENTRYPOINT ["rollout-server", "--host", "0.0.0.0"]
CMD ["--model", "models/digit-grids"]
