#!/bin/sh
# Sees to it that the tests find a Chromium and a Firefox: Debian's where apt-get may be used, else those that Playwright
# downloads into its own cache. $1 is the Python that has Playwright.
set -eu
python=$1

have_both() { command -v chromium >/dev/null && command -v firefox-esr >/dev/null; }

have_both && exit 0

as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
may_install=no
$as_root true 2>/dev/null && may_install=yes

# Ubuntu's `chromium` is a snap, which a test cannot drive, and it has no firefox-esr.
if [ "$may_install" = yes ] && command -v apt-get >/dev/null && grep -q '^ID=debian' /etc/os-release 2>/dev/null; then
  echo "Installing Chromium and Firefox ESR with apt-get"
  if $as_root apt-get update -qq &&
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      chromium firefox-esr xvfb >/dev/null &&
    have_both; then
    exit 0
  fi
  echo "apt-get could not install them; Playwright's own browsers are tried next." >&2
fi

with_deps=
[ "$may_install" = yes ] && command -v apt-get >/dev/null && with_deps=--with-deps
"$python" -m playwright install $with_deps --no-shell chromium firefox && exit 0

echo "No Chromium and Firefox for the tests. Install both with the system's package manager (Debian: apt-get install" >&2
echo "chromium firefox-esr), or let Playwright download them: $python -m playwright install chromium firefox" >&2
exit 1
