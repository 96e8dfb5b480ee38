#!/bin/sh
# Makes a virtual environment in $1 with $PYTHON; says what to do where the machine's Python cannot.
set -eu
folder=$1

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "Holdfast needs Python 3.11 or newer, and '$PYTHON' is not. Name another one: make PYTHON=/path/to/python3.13" >&2
  exit 1
fi

# Debian and Ubuntu ship Python without ensurepip; the package python3-venv brings it.
if ! "$PYTHON" -c 'import ensurepip' 2>/dev/null; then
  version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  as_root=
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
    echo "Python's ensurepip is missing: installing python$version-venv"
    { $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends "python$version-venv"; } >/dev/null 2>&1 ||
      echo "apt-get could not install python$version-venv." >&2
  fi
  if ! "$PYTHON" -c 'import ensurepip' 2>/dev/null; then
    echo "'$PYTHON' has no ensurepip, so it cannot make a virtual environment. On Debian or Ubuntu run:" >&2
    echo "    sudo apt-get install python$version-venv" >&2
    echo "or name another Python: make PYTHON=/path/to/python3" >&2
    exit 1
  fi
fi

"$PYTHON" -m venv --clear "$folder"
