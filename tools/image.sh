#!/bin/sh
# Builds the container image TAG (holdfast unless told) from deploy/container/Containerfile and the
# Debian package. BASE replaces the base image; PODMAN and BUILD_OPTIONS are for machines that need
# other storage, runtime or isolation than podman's own.
set -eu

cd "$(dirname "$0")/.."
tag=${1:-holdfast}
package=$(sh tools/deb.sh | tail -n 1)
context=build-deb/image
rm -rf "$context"
mkdir -p "$context"
cp "$package" "$context/holdfast.deb"
# shellcheck disable=SC2086 # words
${PODMAN:-podman} build --format docker ${BASE:+--build-arg "BASE=$BASE"} -t "$tag" \
    -f deploy/container/Containerfile ${BUILD_OPTIONS:-} "$context"
