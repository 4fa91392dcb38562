#!/bin/sh
# Creates or updates the two databases of a Temporal server on PostgreSQL. Run again, it changes nothing.
# Runs in temporalio/admin-tools; its SQL tool brings the schemas of its own version.
set -eu

for pair in temporal:temporal temporal_visibility:visibility; do
  database=${pair%%:*}
  schema=${pair##*:}
  set -- temporal-sql-tool --plugin postgres12 --ep "$POSTGRES_SEEDS" -p "$DB_PORT" \
    -u "$POSTGRES_USER" --pw "$POSTGRES_PWD" --db "$database"
  "$@" create
  "$@" setup-schema -v 0.0 # skipped by the tool when the database is past it
  "$@" update-schema --schema-name "postgresql/v12/$schema"
done
