#!/bin/sh
# Builds build-deb/holdfast_VERSION_ARCH.deb from build-release: dpkg-deb over a tree of what
# deploy/debian has and the binary prints. DEB_VERSION replaces the version.
set -eu

cd "$(dirname "$0")/.."
from=deploy/debian
out=build-deb
root=$out/root
arch=$(dpkg --print-architecture)
base=$(sed -n "s/^  version: '\(.*\)',\$/\1/p" meson.build)
version=${DEB_VERSION:-$base~dev$(git rev-list --count HEAD 2>/dev/null || echo 0)}

rm -rf "$root"
mkdir -p "$root/DEBIAN" "$root/usr/bin" "$root/usr/share/man/man1" "$root/usr/share/doc/holdfast" \
    "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" \
    "$root/usr/share/fish/vendor_completions.d" "$root/lib/systemd/system" "$root/etc/holdfast"
install -m 0755 build-release/holdfast "$root/usr/bin/holdfast"
strip --remove-section=.comment --remove-section=.note "$root/usr/bin/holdfast"
build-release/holdfast man >"$root/usr/share/man/man1/holdfast.1"
gzip -9n "$root/usr/share/man/man1/holdfast.1"
build-release/holdfast completion bash >"$root/usr/share/bash-completion/completions/holdfast"
build-release/holdfast completion zsh >"$root/usr/share/zsh/vendor-completions/_holdfast"
build-release/holdfast completion fish >"$root/usr/share/fish/vendor_completions.d/holdfast.fish"
install -m 0644 "$from/holdfast.service" "$root/lib/systemd/system/holdfast.service"
install -m 0644 "$from/holdfast.yaml" "$root/etc/holdfast/holdfast.yaml"
install -m 0644 "$from/copyright" "$root/usr/share/doc/holdfast/copyright"
printf 'holdfast (%s) unstable; urgency=medium\n\n  * See /usr/share/doc/holdfast/CHANGELOG.md.gz.\n\n -- %s  %s\n' \
    "$version" 'The Holdfast authors <holdfast@localhost>' \
    "$(LC_ALL=C date -u -R -d "@$(git log -1 --format=%ct 2>/dev/null || echo 0)")" |
    gzip -9n >"$root/usr/share/doc/holdfast/changelog.gz"
gzip -9n <CHANGELOG.md >"$root/usr/share/doc/holdfast/CHANGELOG.md.gz"
install -m 0644 "$from/conffiles" "$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 0755 "$from/$script" "$root/DEBIAN/$script"
done

# The libraries of the binary, as dpkg knows them; it wants a source tree around it.
mkdir -p "$out/debian"
printf 'Source: holdfast\n\nPackage: holdfast\nArchitecture: any\n' >"$out/debian/control"
depends=$(cd "$out" && dpkg-shlibdeps -O root/usr/bin/holdfast | sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || {
    echo 'deb: the libraries of the binary are not known to dpkg' >&2
    exit 1
}
size=$(du -k -s --apparent-size "$root" | cut -f 1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" \
    -e "s/@DEPENDS@/$depends/" "$from/control.in" >"$root/DEBIAN/control"
(cd "$root" && find etc lib usr -type f ! -path 'etc/*' -print0 | LC_ALL=C sort -z |
    xargs -0 md5sum >DEBIAN/md5sums)
chmod -R u=rwX,go=rX "$root"
chmod 0755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm" "$root/DEBIAN/postrm"
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/holdfast_${version}_$arch.deb" >/dev/null
echo "$out/holdfast_${version}_$arch.deb"
