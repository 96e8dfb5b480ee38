#!/bin/sh
# Sees to it that the tests find PostgreSQL's and Redis's servers. They start their own, on free ports in temporary folders;
# the packages' own services are not needed.
set -eu

have_postgres() { command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }
have_redis() { command -v redis-server >/dev/null; }

have_postgres && have_redis && exit 0

as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
  echo "Installing PostgreSQL and Redis with apt-get"
  packages=
  have_postgres || packages="postgresql"
  have_redis || packages="$packages redis-server"
  # shellcheck disable=SC2086  # one word for each package
  if $as_root apt-get update -qq &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null &&
    have_postgres && have_redis; then
    exit 0
  fi
fi

echo "The tests need the programs initdb, pg_ctl and postgres (PostgreSQL 14 or newer) and redis-server (7 or newer)." >&2
echo "Install them with the system's package manager, for example: apt-get install postgresql redis-server," >&2
echo "dnf install postgresql-server redis, brew install postgresql redis. No service has to run." >&2
exit 1
