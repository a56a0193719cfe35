#!/bin/sh
# Prepares a fresh Debian 12 that has Rust. Idempotent: installs only what is missing, and needs root only for that.
#
#   scripts/setup.sh run    what `make run` needs: a C compiler and libpq to build, qemu-storage-daemon for exports
#   scripts/setup.sh bench  also PostgreSQL, and strace to count fsyncs
#   scripts/setup.sh test   also PostgreSQL, the stock OpenStack clients, Keystone, cargo-nextest, an iSCSI target daemon and a QEMU guest
#   scripts/setup.sh tempest also tempest, and Keystone
set -eu

cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
purpose=${1:-run}
case $purpose in
run | bench | tempest | test) ;;
*)
    echo "usage: $0 run|bench|tempest|test" >&2
    exit 2
    ;;
esac

say() { echo "setup: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# Two set-ups at once would wait for each other's apt lock and unpack into each other's directories.
mkdir -p "$target"
exec 9>"$target/.setup.lock"
flock 9

# apt_install PACKAGE…: as root, or through sudo if that asks for no password.
apt_install() {
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if have sudo && sudo -n true 2>/dev/null; then
            as_root="sudo -n"
        else
            say "please install as root: apt-get install --no-install-recommends $*"
            return 1
        fi
    fi
    have apt-get || {
        say "this is no Debian; please install the equivalents of: $*"
        return 1
    }
    say "installing: $*"
    # </dev/null: a question would hang a run that nobody watches
    $as_root apt-get -qq -o DPkg::Lock::Timeout=300 update </dev/null >&2
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y \
        --no-install-recommends "$@" </dev/null >&2
}

have cargo || {
    say "Rust is missing: see https://rustup.rs"
    exit 1
}

missing=
have cc || missing="$missing build-essential"
# the link needs libpq.so, which only the development package has
if ! have pg_config || [ ! -e "$(pg_config --libdir)/libpq.so" ]; then missing="$missing libpq-dev"; fi
if [ "$purpose" = bench ] || [ "$purpose" = test ]; then
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
fi
if [ "$purpose" = bench ]; then
    have strace || missing="$missing strace"
fi
if [ "$purpose" = tempest ] || [ "$purpose" = test ]; then
    python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
fi
if [ "$purpose" = tempest ]; then
    # images of other formats than raw
    have qemu-img || missing="$missing qemu-utils"
fi
if [ "$purpose" = test ]; then
    # a file system that shares blocks, for the tests of clones
    [ -x /usr/sbin/mkfs.xfs ] || missing="$missing xfsprogs"
    # the target daemon of iSCSI backends
    [ -x /usr/sbin/tgtd ] || missing="$missing tgt"
fi
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || apt_install $missing

if [ "$purpose" = run ]; then
    # without it Hearth runs and says that exports are unavailable
    have qemu-storage-daemon || apt_install qemu-utils || say "no qemu-storage-daemon: volumes cannot be exported"
    exit 0
fi
[ "$purpose" != bench ] || exit 0

# venv NAME WHAT LIST MODULE: once for each list of versions.
venv() {
    made=$target/$1
    wanted=$(sha256sum "$3" | cut -d' ' -f1)
    if [ "$(cat "$made/made-by" 2>/dev/null || true)" = "$wanted" ] && "$made/bin/python" -c "import $4" 2>/dev/null; then
        return
    fi
    say "installing $2 into $made"
    rm -rf "$made"
    python3 -m venv "$made"
    "$made/bin/pip" install --quiet --no-input --disable-pip-version-check -r "$3" </dev/null >&2
    echo "$wanted" >"$made/made-by"
}

# each apart from the others: what a service needs is no concern of its clients
venv keystone-venv "Keystone" tests/it/e2e/keystone/requirements.txt keystone
if [ "$purpose" = tempest ]; then
    venv tempest-venv "tempest" tests/tempest/requirements.txt tempest
    exit 0
fi

have cargo-nextest || cargo install cargo-nextest --locked </dev/null >&2
venv openstack-venv "the OpenStack clients" tests/it/e2e/requirements.txt openstackclient

# QEMU of the same version as its storage daemon, and a guest to boot.
[ ! -x tests/guest/prepare.sh ] || tests/guest/prepare.sh </dev/null
