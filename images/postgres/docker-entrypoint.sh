#!/usr/bin/env bash
# Keeps the POSTGRES_* contract of the official image: makes a cluster in an empty PGDATA, runs the scripts of
# /docker-entrypoint-initdb.d on it, and becomes the server. Anything but a server is run as it is.
set -Eeuo pipefail

fail() {
  printf 'Error: %s\n' "$@" >&2
  exit 1
}

# from_file NAME [DEFAULT] sets NAME from itself, from the file that NAME_FILE names, or to DEFAULT.
from_file() {
  local file="${1}_FILE" value="${!1:-}"
  if [[ -n ${!file:-} ]]; then
    [[ -z $value ]] || fail "both $1 and $file are set (but are exclusive)"
    value=$(<"${!file}")
  fi
  export "$1=${value:-${2:-}}"
  unset "$file"
}

# wants_server tells a server from "postgres --version" and the like.
wants_server() {
  [[ $1 == postgres ]] || return 1
  local argument
  for argument; do
    case $argument in
      '-?' | --help | --describe-config | -V | --version) return 1 ;;
    esac
  done
}

# as_postgres makes the folders and starts this script again without root's rights.
as_postgres() {
  local folder
  for folder in "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"}; do
    mkdir -p "$folder"
    chmod 700 "$folder"
    find "$folder" ! -user postgres -exec chown postgres {} +
  done
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
}

check_password() {
  if [[ $POSTGRES_HOST_AUTH_METHOD == trust ]]; then
    echo 'WARNING: POSTGRES_HOST_AUTH_METHOD is "trust": whoever reaches the port reaches the data.' >&2
  elif [[ -z $POSTGRES_PASSWORD ]]; then
    fail 'Database is uninitialized and superuser password is not specified.' \
      'You must specify POSTGRES_PASSWORD to a non-empty value for the superuser,' \
      'or POSTGRES_HOST_AUTH_METHOD=trust to allow all connections without a password (not recommended).'
  fi
}

# make_cluster takes the server's arguments: one of them may choose the encryption of passwords.
make_cluster() {
  local -a options
  eval "options=($POSTGRES_INITDB_ARGS)" # split as a shell splits, as the official image does
  [[ -z ${POSTGRES_INITDB_WALDIR:-} ]] || options+=(--waldir "$POSTGRES_INITDB_WALDIR")
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${options[@]}"
  local method=$POSTGRES_HOST_AUTH_METHOD
  method=${method:-$(postgres -C password_encryption "${@:2}")}
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# docker_process_sql runs psql on POSTGRES_DB over the socket. Init scripts that are sourced may call it.
docker_process_sql() {
  PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --no-password --no-psqlrc \
    ${POSTGRES_DB:+--dbname "$POSTGRES_DB"} "$@"
}

make_database() {
  local exists
  exists=$(POSTGRES_DB=postgres docker_process_sql --set db="$POSTGRES_DB" --tuples-only \
    <<<"SELECT 1 FROM pg_database WHERE datname = :'db'")
  [[ -n $exists ]] || POSTGRES_DB=postgres docker_process_sql --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db"'
}

run_init_scripts() {
  local script
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sh)
        if [[ -x $script ]]; then
          echo "$0: running $script"
          "$script"
        else
          echo "$0: sourcing $script"
          # shellcheck disable=SC1090
          . "$script"
        fi
        ;;
      *.sql) echo "$0: running $script" && docker_process_sql -f "$script" ;;
      *.sql.gz) echo "$0: running $script" && gunzip -c "$script" | docker_process_sql ;;
      */\*) ;; # no script at all
      *) echo "$0: ignoring $script" ;;
    esac
  done
}

initialize() {
  check_password
  make_cluster "$@"
  export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD} # local connections may ask for it too
  # Only the socket listens until the scripts are done: who reaches the port finds a finished database.
  local options
  printf -v options '%q ' "${@:2}" -c listen_addresses= -p "${PGPORT:-5432}"
  PGUSER=${PGUSER:-$POSTGRES_USER} pg_ctl -D "$PGDATA" -o "$options" -w start
  make_database
  run_init_scripts
  PGUSER=${PGUSER:-postgres} pg_ctl -D "$PGDATA" -m fast -w stop
  unset PGPASSWORD
  printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

[[ ${1:-} != -* ]] || set -- postgres "$@"
if wants_server "${1:-}" "${@:2}"; then
  from_file POSTGRES_PASSWORD
  from_file POSTGRES_USER postgres
  from_file POSTGRES_DB "$POSTGRES_USER"
  from_file POSTGRES_INITDB_ARGS
  export POSTGRES_HOST_AUTH_METHOD=${POSTGRES_HOST_AUTH_METHOD:-}
  [[ $(id -u) != 0 ]] || as_postgres "$@"
  if [[ -s $PGDATA/PG_VERSION ]]; then
    printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
  else
    initialize "$@"
  fi
fi
exec "$@"
