# The reward server: for a CPU without torch, (DEVICE=torch-cpu) with it, or (DEVICE=gpu) for a GPU.
# Arguments: docker/README.md.
ARG BASE=python:3.11.14-slim-bookworm

# hadolint ignore=DL3006
FROM ${BASE} AS base
ARG CERTIFICATES=docker/certificates
COPY ${CERTIFICATES}/ /usr/local/share/ca-certificates/
RUN update-ca-certificates \
    && groupadd --gid 10001 ireasoner \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /cache ireasoner \
    && install -d -o 10001 -g 10001 /cache /configs /ledger
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt

FROM base AS build
WORKDIR /build
ARG DEVICE=cpu
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS=/wheels
ARG TORCH_CPU=torch==2.13.0+cpu
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
COPY constraints.txt constraints-gpu.txt hatch_build.py pyproject.toml ./
COPY clients/pyproject.toml clients/
# The dependencies and the default embedder's files, as one layer that the sources do not touch: the projects, still
# empty, ask for them. OpenVINO's plugins for other devices and SymPy's own tests (95 MB) are not used.
RUN --mount=type=bind,source=docker/wheels,target=/wheels \
    python3 -m venv --without-pip /opt/venv \
    && touch LICENSE NOTICE README.md clients/LICENSE clients/README.md \
    && python3 hatch_build.py \
    && case $DEVICE in \
        cpu) torch= ;; \
        torch-cpu) torch=,sentence-transformers \
            && { pip --python /opt/venv/bin/python install --constraint constraints.txt "$TORCH_CPU" \
                || pip --python /opt/venv/bin/python install --constraint constraints.txt \
                    --extra-index-url "$TORCH_INDEX_URL" "$TORCH_CPU"; } ;; \
        gpu) torch=,sentence-transformers && mv constraints-gpu.txt constraints.txt ;; \
        *) echo "DEVICE is cpu, torch-cpu or gpu, not $DEVICE" >&2 && exit 1 ;; \
    esac \
    && pip --python /opt/venv/bin/python install --constraint constraints.txt ./clients \
        ".[otel,redis,reward-server$torch]" \
    && { [ "$DEVICE" != gpu ] || /opt/venv/bin/python -c \
        'import torch; assert torch.version.cuda, "torch is a build for a CPU: take it out of docker/wheels"'; } \
    && find /opt/venv/lib -path '*/openvino/libs/*' \( -name '*_[gn]pu_plugin.so' -o -name cache.json \) -delete \
    && find /opt/venv/lib -path '*/sympy/*' -name tests -prune -exec rm -r {} +
COPY LICENSE NOTICE README.md ./
COPY clients clients
COPY audit audit
COPY cli cli
COPY compat compat
COPY services/reward_server services/reward_server
RUN pip --python /opt/venv/bin/python install --no-deps --force-reinstall ./clients .

FROM base
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="iReasoner reward server" \
      org.opencontainers.image.description="Scores groups of rollouts by their agreement with themselves." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY docker/ready /usr/local/bin/
COPY --from=build /opt/venv /opt/venv
USER 10001:10001
WORKDIR /cache
EXPOSE 8010
ENTRYPOINT ["reward-server"]
CMD ["--host", "0.0.0.0", "--tokens-file", "/run/secrets/reward_hashes", "--configs-folder", "/configs"]
