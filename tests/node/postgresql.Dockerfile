# Debian's PostgreSQL, with as much of the official image's ways as examples/kubernetes/postgresql.yaml needs.
ARG BASE
FROM ${BASE}
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid 999 postgres
RUN apt-get update && apt-get install -y --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/*
COPY postgresql.sh /
USER 999:999
CMD ["sh", "/postgresql.sh"]
