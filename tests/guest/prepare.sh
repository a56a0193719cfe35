#!/bin/sh
# Prepares everything that the guest tests need, on Debian 12 (amd64) with nothing but its own mirror:
#   * qemu-system-x86 of bookworm-backports, and qemu-utils of the same version (the release's own qemu-system-x86
#     would remove a newer qemu-utils, and with it qemu-storage-daemon), with QEMU's iSCSI client;
#   * a kernel and four virtio modules, unpacked from the cloud kernel's package without installing it;
#   * an initial RAM disk with busybox whose console executes commands (tests/it/e2e/guest.rs talks to it).
# Result: vmlinuz and initrd.gz in $HEARTH_GUEST_DIR (default: target/guest). Idempotent: does nothing when they are there.
# Needs root only if a package has to be installed. No file under /etc is changed.
set -eu

cd "$(dirname "$0")/../.."
out=${HEARTH_GUEST_DIR:-$PWD/target/guest}
mkdir -p "$out"
out=$(cd "$out" && pwd)

# Two runs at once would unpack into each other.
exec 9>"$out/.lock"
flock 9

say() { echo "prepare-guest: $*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

complete() { [ -s "$out/vmlinuz" ] && [ -s "$out/initrd.gz" ] && [ "$(cat "$out/made-by" 2>/dev/null)" = "$recipe" ]; }

# A change of this script makes the assets again.
recipe=$(sha256sum tests/guest/prepare.sh | cut -d' ' -f1)

# QEMU's iSCSI client, for the tests of that protocol.
have_iscsi() { [ -e "/usr/lib/$(uname -m)-linux-gnu/qemu/block-iscsi.so" ]; }

if have qemu-system-x86_64 && have qemu-storage-daemon && have_iscsi && complete; then
    say "already prepared in $out"
    exit 0
fi

[ "$(dpkg --print-architecture)" = amd64 ] || { say "only amd64 is prepared"; exit 1; }

work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The machine's own Debian mirrors plus backports of the same mirror, in lists of our own.
suite=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Component: main' |
    grep -E " $suite(-security|-updates)?\$" | sort -u >"$work/mirrors" || true
mirror=$(awk -v s="$suite" '$2 == s { print $1; exit }' "$work/mirrors")
[ -n "$mirror" ] || { say "no $suite mirror among the apt sources"; exit 1; }
{
    awk -v k="$keyring" '{ print "deb [signed-by=" k "] " $1 " " $2 " main" }' "$work/mirrors"
    echo "deb [signed-by=$keyring] $mirror $suite-backports main"
} >"$work/sources.list"
mkdir -p "$work/lists/partial"
apt="-o Dir::Etc::SourceList=$work/sources.list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$work/lists -o APT::Sandbox::User=root -o DPkg::Lock::Timeout=300"

say "reading package lists"
# shellcheck disable=SC2086
apt-get $apt -qq update

missing=
have qemu-system-x86_64 && have qemu-storage-daemon || missing="qemu-system-x86 qemu-utils"
have_iscsi || missing="$missing qemu-block-extra"
have cpio || missing="$missing cpio"
[ -x /bin/busybox ] || [ -x /usr/bin/busybox ] || missing="$missing busybox-static"
if [ -n "$missing" ]; then
    say "installing:$missing"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get $apt -qq install -y --no-install-recommends -t "$suite-backports" $missing >&2
fi
busybox=$(command -v busybox)
if ldd "$busybox" >/dev/null 2>&1; then
    say "$busybox is not static: install busybox-static"
    exit 1
fi

say "unpacking a kernel"
# shellcheck disable=SC2086
kernel=$(apt-cache $apt depends linux-image-cloud-amd64 | awk '/Depends/ { print $2; exit }')
# shellcheck disable=SC2086
(cd "$work" && apt-get $apt -qq download "$kernel")
mkdir "$work/kernel"
dpkg-deb --fsys-tarfile "$work"/linux-image-*.deb | tar x -C "$work/kernel" --wildcards \
    './boot/vmlinuz*' '*/virtio.ko' '*/virtio_ring.ko' '*/virtio_pci.ko' '*/virtio_pci_*.ko' '*/virtio_blk.ko'

say "making the initial RAM disk"
root=$work/root
mkdir -p "$root/bin" "$root/m" "$root/proc" "$root/sys" "$root/dev"
cp "$busybox" "$root/bin/busybox"
find "$work/kernel" -name '*.ko' -exec cp {} "$root/m/" \;
cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
# The order matters: each needs symbols of those before it.
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk; do
    [ -e /m/$module.ko ] && insmod /m/$module.ko
done
stty -echo
echo GUEST-READY
while read -r line; do
    eval "$line"
    echo "END-$?"
done
INIT
chmod 755 "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initrd.gz"

# Complete files only, the mark last.
rm -f "$out/made-by"
mv "$work"/kernel/boot/vmlinuz-* "$out/vmlinuz"
mv "$work/initrd.gz" "$out/initrd.gz"
echo "$recipe" >"$out/made-by"
say "ready in $out"
