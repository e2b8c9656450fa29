# The kgrec job of docker-compose.yml: the command line, on the CPU.
FROM python:3.11-slim
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY graph_schema graph_schema
COPY loaders loaders
COPY kgrec kgrec
# On Linux the default build of torch brings CUDA, several GB; another package index may have a smaller one:
#   docker compose build --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL=
RUN pip install --no-cache-dir -c constraints.txt .
WORKDIR /work
CMD ["kgrec", "--help"]
