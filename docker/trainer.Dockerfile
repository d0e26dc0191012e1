# The trainer, for a GPU or (DEVICE=cpu) for a CPU. Arguments: docker/README.md.
ARG BASE=python:3.11.14-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE} AS base
ARG CERTIFICATES=docker/certificates
COPY ${CERTIFICATES}/ /usr/local/share/ca-certificates/
RUN update-ca-certificates \
    && groupadd --gid 10001 ireasoner \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /cache ireasoner \
    && install -d -o 10001 -g 10001 /adapters /cache /images /runs
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt

FROM base AS build
WORKDIR /build
ARG DEVICE=gpu
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
    && pip --python /opt/venv/bin/python install --constraint constraints.txt torchvision ./clients \
        '.[trainer]' \
    && { [ "$DEVICE" = cpu ] || /opt/venv/bin/python -c \
        'import torch; assert torch.version.cuda, "torch is a build for a CPU: take it out of docker/wheels"'; }
COPY LICENSE NOTICE README.md ./
COPY clients clients
COPY audit audit
COPY cli cli
COPY compat compat
COPY trainer trainer
RUN pip --python /opt/venv/bin/python install --no-deps --force-reinstall ./clients .

FROM base
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="iReasoner trainer" \
      org.opencontainers.image.description="The Proposer-Solver loop on TRL's GRPO." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY docker/train /usr/local/bin/
COPY configs /opt/ireasoner/configs
COPY trainer/ireasoner/trainer/commands/demo.toml /opt/ireasoner/configs/demo.toml
COPY trainer/ireasoner/trainer/commands/demo_model /opt/ireasoner/models/digit-grids
COPY --from=build /opt/venv /opt/venv
USER 10001:10001
WORKDIR /opt/ireasoner
ENTRYPOINT ["train"]
