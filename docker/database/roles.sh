#!/bin/sh
# Make the database's roles. The postgres image runs this once, when it makes the database.
#
# Passwords come from files in SECRETS (/run/secrets) and go by standard input to psql: they are in
# no command line, and statements are kept out of the server's log.
set -eu
export SECRETS="${SECRETS:-/run/secrets}"

for role in admin worker reader; do
    if [ ! -s "$SECRETS/database-$role" ]; then
        echo "$SECRETS/database-$role: missing or empty; make it with docker/make-secrets.sh" >&2
        exit 1
    fi
done

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set VERBOSITY=terse --single-transaction \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --file - <<'SQL'
SET log_statement = 'none';
SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1;
\set admin_password `cat "$SECRETS/database-admin"`
\set worker_password `cat "$SECRETS/database-worker"`
\set reader_password `cat "$SECRETS/database-reader"`
CREATE ROLE neuroteach_admin LOGIN PASSWORD :'admin_password';
CREATE ROLE neuroteach_worker LOGIN PASSWORD :'worker_password';
CREATE ROLE neuroteach_reader LOGIN PASSWORD :'reader_password';

-- The admin makes schemas and tables; nobody else gets in who is not named here.
ALTER DATABASE :"DBNAME" OWNER TO neuroteach_admin;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO neuroteach_worker, neuroteach_reader;

-- What the admin will make is the workers' to fill and the readers' to read: the same rights as
-- `neuroteach database grant` gives. Of a table that one may only SELECT from, PostgreSQL does not
-- say which columns are its key.
ALTER DEFAULT PRIVILEGES FOR ROLE neuroteach_admin
    GRANT USAGE ON SCHEMAS TO neuroteach_worker, neuroteach_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE neuroteach_admin
    GRANT SELECT, INSERT, UPDATE, DELETE, REFERENCES ON TABLES TO neuroteach_worker;
ALTER DEFAULT PRIVILEGES FOR ROLE neuroteach_admin
    GRANT SELECT, REFERENCES ON TABLES TO neuroteach_reader;
SQL
