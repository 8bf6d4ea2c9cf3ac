# LatentAtlas as a container. Built unchanged by `docker build -t latentatlas .`; docs/containers.md has the variants.
# Any Debian with Python 3.11 or newer.
ARG BASE_IMAGE=debian:bookworm-slim

FROM ${BASE_IMAGE} AS build
# Debian removes a package's version when it updates it: to pin one is to break the build on the day of the next fix.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The dependencies are a layer of their own, which a change of the code leaves alone. wheels/ may be absent.
COPY pyproject.toml constraints.txt ./
COPY containers/install.sh containers/
COPY constraints.txt wheel[s]/* wheels/
# Which build of torch: empty takes what pip finds, which has CUDA; "cpu" (or "cu126", ...) takes that build, from wheels/
# or from an index given as PIP_EXTRA_INDEX_URL.
ARG TORCH_BUILD=""
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS=/build/wheels
RUN containers/install.sh dependencies
COPY . .
# TemplateFlow templates to take along, e.g. "MNI152NLin2009cAsym MNIPediatricAsym:cohort-4".
ARG TEMPLATES=""
ENV TEMPLATEFLOW_HOME=/opt/latentatlas/cache/templateflow \
    MPLCONFIGDIR=/opt/latentatlas/cache/matplotlib \
    NUMBA_CACHE_DIR=/opt/latentatlas/cache/numba
RUN containers/install.sh package

FROM ${BASE_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=build /opt/latentatlas /opt/latentatlas

ENV PATH=/opt/latentatlas/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    MPLBACKEND=Agg \
    NO_ET=1 \
    PYTHONNOUSERSITE=1 \
    LATENTATLAS_CACHE=/opt/latentatlas/cache \
    TEMPLATEFLOW_HOME=/opt/latentatlas/cache/templateflow \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

ARG VERSION=""
ARG REVISION=""
ARG CREATED=""
ENV LATENTATLAS_CONTAINER=docker:latentatlas:${VERSION}
LABEL org.opencontainers.image.title="LatentAtlas" \
      org.opencontainers.image.description="BIDS App: grey-matter maps, their latent space, the regions it encodes, and what may be claimed of it" \
      org.opencontainers.image.documentation="docs/containers.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

# As the first process of a container Python would ignore SIGTERM; SIGINT it takes as the keyboard's interruption.
STOPSIGNAL SIGINT
WORKDIR /tmp
ENTRYPOINT ["latentatlas"]
