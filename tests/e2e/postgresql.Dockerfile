# A PostgreSQL for the tests' own StatefulSet; its data is in /data.
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends postgresql-15 && rm -rf /var/lib/apt/lists/*
USER 10001:10001
ENV PATH=/usr/lib/postgresql/15/bin:$PATH
CMD ["sh", "-c", "test -s /data/db/PG_VERSION || (umask 077 && initdb --pgdata=/data/db --username=qrs --auth=trust) && exec postgres -D /data/db -c listen_addresses=* -c unix_socket_directories=/tmp -c hba_file=/etc/postgresql/hba.conf"]
