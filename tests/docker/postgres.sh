#!/bin/sh
# PostgreSQL as the image of the recipes starts it: a database, a user, scripts on an empty volume.
set -eu
bin=/usr/lib/postgresql/15/bin
data=/var/lib/postgresql/data
mkdir -p "$data"
chown -R postgres "$data"
if [ ! -s "$data/PG_VERSION" ]; then
    su postgres -c "$bin/initdb -D $data --auth=trust" >/dev/null
    echo "host all all all trust" >>"$data/pg_hba.conf"
    su postgres -c "$bin/pg_ctl -D $data -w start -o '-c listen_addresses='" >/dev/null
    su postgres -c "psql -qc \"CREATE ROLE $POSTGRES_USER SUPERUSER LOGIN PASSWORD '$POSTGRES_PASSWORD'\""
    su postgres -c "createdb -O $POSTGRES_USER $POSTGRES_DB"
    for script in /docker-entrypoint-initdb.d/*.sql; do
        su postgres -c "psql -q -v ON_ERROR_STOP=1 -d $POSTGRES_DB" <"$script"
    done
    su postgres -c "$bin/pg_ctl -D $data -w stop" >/dev/null
fi
exec su postgres -c "exec $bin/postgres -D $data -c 'listen_addresses=*'"
