# kgrec on the CPU: the command line and the service. A user without rights runs it; all that it writes is in /data (and /tmp).
#
#   docker build -t kgrec .
#   docker run --rm --read-only --tmpfs /tmp -v kgrec:/data -v ./runs/movielens:/bundle:ro -p 127.0.0.1:8000:8000 kgrec \
#     kgrec serve /bundle --data /data/service --host 0.0.0.0
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/kgrec
ENV PATH=/opt/kgrec/bin:$PATH
# On Linux the default build of torch brings CUDA, several GB; this index has one for CPUs. Another one:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY graph_schema graph_schema
COPY loaders loaders
COPY kgrec kgrec
RUN pip install -c constraints.txt ".[serve,telemetry]" \
    # Headers, static libraries and tests, which nothing reads at run time.
    && cd /opt/kgrec/lib/python3.11/site-packages \
    && rm -rf torch/include torch/share torch/test pyarrow/include \
    && find torch/bin -type f ! -name torch_shm_manager -delete \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find . \( -name "*.a" -o -name "*.pxd" \) -delete

FROM python:3.11-slim
COPY --from=build /opt/kgrec /opt/kgrec
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data kgrec && install -d -o kgrec -g kgrec /data
ENV PATH=/opt/kgrec/bin:$PATH \
    HOME=/data \
    XDG_CACHE_HOME=/data/cache \
    HF_HOME=/data/cache/huggingface \
    MPLCONFIGDIR=/data/cache/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME /data
WORKDIR /work
EXPOSE 8000
# Alive; orchestrators that send requests elsewhere ask for /ready, with a key: see docker-compose.yml.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-m", "kgrec.service.probe", "--health"]
CMD ["kgrec", "--help"]
