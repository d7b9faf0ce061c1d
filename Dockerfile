# The service alone: no torch, no training. Built from the same lock and installer as everything
# else. No container engine is at hand where this project is checked, so this file is unproven there:
# see docs/how-to/container.md.
FROM python:3.11-slim AS build
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY requirements/ requirements/
COPY qianmian/ qianmian/
COPY serving/ serving/
# compiled now: the user of the service could not keep what it compiles at every start
RUN VENV=/opt/qianmian UV_COMPILE_BYTECODE=1 requirements/install.sh serve \
    && /opt/qianmian/bin/python -m compileall -q qianmian serving

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 qianmian \
    && install -d -o qianmian -g qianmian /var/lib/qianmian /var/cache/qianmian
WORKDIR /app
COPY --from=build /opt/qianmian /opt/qianmian
COPY --from=build /app /app
COPY configs/ configs/
COPY feature_repo/ feature_repo/
COPY web/ web/
# A container is reached from outside, unlike the service on a developer's machine.
RUN sed -i 's/^  host: 127\.0\.0\.1\b/  host: 0.0.0.0/' configs/serving/serve.yaml
ENV PATH=/opt/qianmian/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/var/cache/qianmian \
    QIANMIAN_HOME=/var/lib/qianmian
USER qianmian
# re-ranking's loops, for the processor of this machine: on another kind a container's first start
# compiles them again
RUN python -m serving.feed.rerank.warm
VOLUME /var/lib/qianmian
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=90s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["qianmian", "serve"]
