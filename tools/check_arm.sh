#!/usr/bin/env bash
# Runs the wheel on emulated Arm processors and holds its answers against those of this machine; see docs/arm.md.
#
#   tools/check_arm.sh [FOLDER]      (default build/arm, some 900 MB; a second run takes from it what is there)
#
# PYTHON is what the project is installed in. The emulator and Python for arm64 come from the package sources that this
# Debian machine is set up with, into FOLDER: nothing is installed, and no root is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly python=${PYTHON:-.venv/bin/python}
readonly keys=/usr/share/keyrings/debian-archive-keyring.gpg
readonly glibcs=(2014 _2_28 _2_35) # of the wheels: numpy, PyAV and ONNX Runtime, and then OpenVINO

say() { printf '\n== %s\n' "$*" >&2; }

fail() {
    printf 'check_arm.sh: %s\n' "$*" >&2
    exit 2
}

check_machine() {
    local tool
    for tool in apt-get apt-cache dpkg dpkg-deb tar sha256sum; do
        command -v "$tool" >/dev/null || fail "$tool is missing; this check takes Debian's packages apart"
    done
    # shellcheck source=/dev/null
    . /etc/os-release
    if [ "${ID:-}" != debian ] || [ "${VERSION_ID:-0}" -lt 12 ]; then
        fail "this is ${PRETTY_NAME:-no Debian}; the emulator and arm64 packages are taken from Debian 12 or later"
    fi
    [ "$(dpkg --print-architecture)" = amd64 ] || fail "this is no x86-64 machine; on Arm itself run make test"
    "$python" -c 'import build, torch, s2tf_edge' 2>/dev/null ||
        fail "$python lacks the project with its extras and dev tools; run make env, or set PYTHON"
    release=$VERSION_CODENAME
}

# apt with lists, cache and state of its own, so that the machine's are as they were.
own_apt() {
    local tool=$1
    shift
    "$tool" -o Dir::State="$folder/apt" -o Dir::State::status="$folder/apt/status" -o Dir::Cache="$folder/apt/cache" \
        -o Dir::Etc::sourcelist="$folder/apt/sources.list" -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root \
        -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 \
        -o APT::Install-Recommends=false -qq "$@"
}

write_sources() {
    local mirror trust=""
    # shellcheck disable=SC2016 # apt puts in the values
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v release="$release" '$2 == release && $3 == "main" { print $1; exit }')
    [ -n "$mirror" ] || fail "apt has no source of $release main on this machine; see sources.list(5)"
    [ ! -f "$keys" ] || trust="signed-by=$keys"
    mkdir -p "$folder"/apt/lists/partial "$folder"/apt/cache/archives/partial
    : >"$folder/apt/status"
    {
        echo "deb [arch=amd64,arm64 $trust] $mirror $release main"
        # The emulator of Debian 12 itself shows programs this machine's /proc/cpuinfo, on which ONNX Runtime crashes.
        [ "$release" != bookworm ] || echo "deb [arch=amd64 $trust] $mirror $release-backports main"
    } >"$folder/apt/sources.list"
    own_apt apt-get update || fail "apt cannot read its package lists; look at what it says above"
}

# Packages are unpacked and not installed: no program of theirs runs.
unpack() {
    dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --keep-directory-symlink --no-same-owner "${@:3}"
}

get_emulator() {
    [ -f "$folder/emulator/ready" ] && return
    local package=() suite=$release
    [ "$release" != bookworm ] || suite=bookworm-backports
    rm -rf "$folder/emulator" && mkdir -p "$folder/emulator"
    (cd "$folder/emulator" && own_apt apt-get download -t "$suite" qemu-user:amd64)
    package=("$folder"/emulator/*.deb)
    unpack "${package[0]}" "$folder/emulator" ./usr/bin/qemu-aarch64
    rm "${package[0]}"
    touch "$folder/emulator/ready"
}

get_system() {
    [ -f "$folder/system/ready" ] && return
    local name package
    rm -rf "$folder/system" && mkdir -p "$folder"/system/usr/{bin,lib,sbin}
    for name in bin lib sbin; do ln -s "usr/$name" "$folder/system/$name"; done
    own_apt apt-get clean
    own_apt apt-get install --download-only -y python3:arm64 libstdc++6:arm64
    for package in "$folder"/apt/cache/archives/*.deb; do unpack "$package" "$folder/system"; done
    own_apt apt-get clean
    touch "$folder/system/ready"
}

# The wheel as a device gets it, and what it depends on, in the versions of constraints.txt.
get_runtime() {
    local version wheel wanted platforms=() glibc
    version=$(basename "$(readlink -f "$folder/system/usr/bin/python3")")
    version=${version#python}
    rm -rf "$folder/wheel"
    "$python" -m build --no-isolation --outdir "$folder/wheel" . >"$folder/build.log" 2>&1 ||
        fail "the wheel cannot be built; look into $folder/build.log"
    wheel=("$folder"/wheel/*.whl)
    wanted=$(cat constraints.txt pyproject.toml <(echo "$version") | sha256sum)
    if [ "$(cat "$folder/site/ready" 2>/dev/null)" != "$wanted" ]; then
        rm -rf "$folder/site"
        for glibc in "${glibcs[@]}"; do platforms+=(--platform "manylinux${glibc}_aarch64"); done
        "$python" -m pip install --quiet --target "$folder/site" --only-binary=:all: --python-version "$version" \
            "${platforms[@]}" -c constraints.txt "${wheel[0]}[onnxruntime,openvino]"
        echo "$wanted" >"$folder/site/ready"
    else
        rm -rf "$folder"/site/s2tf_edge*
        "$python" -m pip install --quiet --target "$folder/site" --no-deps --upgrade "${wheel[0]}"
    fi
}

mkdir -p "${1:-build/arm}"
folder=$(cd "${1:-build/arm}" && pwd)
release=""
check_machine
if [ ! -f "$folder/emulator/ready" ] || [ ! -f "$folder/system/ready" ]; then
    say "package lists, the emulator, and Python for arm64 (100 MB)"
    write_sources
    get_emulator
    get_system
fi
say "the wheel, and its dependencies for arm64 (100 MB)"
get_runtime
say "networks and artifacts"
PYTHONPATH=$PWD:$PWD/tools "$python" -m arm.make "$folder/made"
say "the same answers on Arm?"
PYTHONPATH=$PWD:$PWD/tools "$python" -m arm.compare "$folder"
