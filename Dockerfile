# One image for each service: docker build --target gateway . (or repo-service, developer-service, search-service,
# notifier-service, migrate, imitation-github).
#
# Every library comes as a wheel, so there is nothing to compile and no build stage to throw away. The stages stand on
# each other instead, so that the images share the layers that are big, and an image has only what its service needs.
# Libraries come first, from the pyproject.toml alone: a change of the sources leaves their layers as they are.

FROM python:3.13-slim AS python
LABEL org.opencontainers.image.title="WeGit" \
      org.opencontainers.image.description="The back end of WeGit, GitHub in a WeChat mini-program" \
      org.opencontainers.image.licenses="MIT"
ENV HOST=0.0.0.0 \
    PORT=8080 \
    GATEWAY_PORT=8080 \
    PYTHONUNBUFFERED=1 \
    PIP_CONSTRAINT=/build/constraints.txt \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /app
COPY constraints.txt /build/

FROM python AS service-kit
COPY service-kit/pyproject.toml /build/service-kit/
RUN pip install /build/service-kit
EXPOSE 8080
STOPSIGNAL SIGTERM
# Alive, not ready: an engine that replaces what is unhealthy must not do so because Postgres is away.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]

FROM service-kit AS gateway
COPY gateway/pyproject.toml /build/gateway/
RUN pip install /build/gateway
COPY service-kit/src gateway/src ./
# From outside the container, for who collects metrics; inside it nobody else is.
ENV GATEWAY_INTERNAL_HOST=0.0.0.0
EXPOSE 9080
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9080/health/live', timeout=4)"]
USER 10001:10001
CMD ["python", "-m", "gateway"]

FROM service-kit AS database
RUN pip install "/build/service-kit[database]"

FROM database AS notifier-service
COPY notifier-service/pyproject.toml /build/notifier-service/
RUN pip install "/build/notifier-service[alerts]"
COPY service-kit/src notifier-service/src ./
# For the command `notifier`: a console script, unlike `python -m`, does not look into the working directory.
ENV PYTHONPATH=/app
USER 10001:10001
CMD ["python", "-m", "notifier_service"]

FROM database AS github-client
COPY github-client/pyproject.toml /build/github-client/
RUN pip install /build/github-client

FROM github-client AS repo-service
COPY repo-service/pyproject.toml /build/repo-service/
RUN pip install /build/repo-service
COPY service-kit/src github-client/src repo-service/src ./
USER 10001:10001
CMD ["python", "-m", "repo_service"]

FROM github-client AS developer-service
COPY developer-service/pyproject.toml /build/developer-service/
RUN pip install /build/developer-service
COPY service-kit/src github-client/src developer-service/src ./
USER 10001:10001
CMD ["python", "-m", "developer_service"]

FROM github-client AS search-service
COPY search-service/pyproject.toml /build/search-service/
RUN pip install /build/search-service
COPY service-kit/src github-client/src search-service/src ./
USER 10001:10001
CMD ["python", "-m", "search_service"]

FROM python AS migrate
RUN pip install psycopg2-binary yoyo-migrations
COPY migrations ./migrations
USER 10001:10001
CMD ["python", "-m", "migrations.apply"]

FROM service-kit AS imitation-github
COPY local/__init__.py ./local/
COPY local/imitation_github ./local/imitation_github
# Its language menu has the names of this list.
COPY github-client/src/github_client/__init__.py github-client/src/github_client/linguist_languages.json ./github_client/
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from socket import create_connection; create_connection(('127.0.0.1', 8080), 4)"]
CMD ["python", "-m", "local.imitation_github", "--host", "0.0.0.0", "--port", "8080"]
