#!/bin/sh
# Puts ONNX Runtime's shared library into .ort/, where .cargo/config.toml points. Needs Python 3 with pip, but not root, and
# does nothing when the library is there already.
#
# .ort/libonnxruntime.so is a symbolic link to the real file on every platform (on macOS to a .dylib: the loader does not
# care about the name), so one path in .cargo/config.toml fits all. macOS gets a .dylib link beside it, by which a binary that
# cargo did not start finds it. Everything is unpacked aside and moved at the end: an
# interrupted run leaves nothing half done.
#
# ORT_PACKAGE=gpu puts the one with CUDA and TensorRT (250 MB; Linux on x86-64) into .ort-gpu/ instead, for ORT_DYLIB_PATH to point to.
set -eu
cd "$(dirname "$0")/.."

version=1.28.0
package=${ORT_PACKAGE:-cpu}
case "$package" in
    cpu) folder=.ort name=onnxruntime pins=scripts/onnxruntime.txt ;;
    gpu) folder=.ort-gpu name=onnxruntime-gpu pins=scripts/onnxruntime-gpu.txt ;;
    *) echo "setup-onnxruntime: ORT_PACKAGE is '$package', expected cpu or gpu" >&2; exit 1 ;;
esac
link=$folder/libonnxruntime.so

fail() {
    echo "setup-onnxruntime: $1" >&2
    echo "setup-onnxruntime: or fetch ONNX Runtime $version yourself and set ORT_DYLIB_PATH to its shared library" >&2
    exit 1
}

# An operator's own library wins; .cargo/config.toml does not override the variable either.
# A bare name is looked up by the system's loader.
if [ "$package" = cpu ] && [ -n "${ORT_DYLIB_PATH:-}" ]; then
    case "$ORT_DYLIB_PATH" in
        */*) [ -f "$ORT_DYLIB_PATH" ] || fail "ORT_DYLIB_PATH is '$ORT_DYLIB_PATH', but there is no such file: correct or unset it" ;;
    esac
    echo "ONNX Runtime: $ORT_DYLIB_PATH (ORT_DYLIB_PATH)"
    exit 0
fi

case "$(uname -s) $(uname -m)" in
    "Linux x86_64") platform=manylinux_2_27_x86_64 file=libonnxruntime.so.$version ;;
    "Linux aarch64") platform=manylinux_2_27_aarch64 file=libonnxruntime.so.$version ;;
    "Darwin arm64") platform=macosx_14_0_arm64 file=libonnxruntime.$version.dylib ;;
    *) fail "no ONNX Runtime is known for $(uname -s) $(uname -m)" ;;
esac
if [ "$package" = gpu ] && [ "$platform" != manylinux_2_27_x86_64 ]; then
    fail "no ONNX Runtime for GPUs is known for $(uname -s) $(uname -m)"
fi

# Says where it is, and what is left to do.
done_with() {
    echo "ONNX Runtime: $link ($version)"
    if [ "$package" = gpu ]; then
        echo "ONNX Runtime: set ORT_DYLIB_PATH=$PWD/$link; the driver, CUDA 13 and cuDNN 9 must be where the loader finds them"
    fi
}

if [ "$(readlink "$link" 2>/dev/null)" = "$file" ] && [ -s "$folder/$file" ]; then
    done_with
    exit 0
fi

if [ "$(uname -s)" = Linux ] && ldd --version 2>&1 | grep -qi musl; then
    fail "this system runs on musl, and ONNX Runtime is built for glibc 2.27 or newer: use a glibc system"
fi
command -v python3 >/dev/null 2>&1 || fail "python3 is missing: install Python 3 with pip (Debian: apt install python3-pip)"
python3 -m pip --version >/dev/null 2>&1 || fail "pip is missing: install it (Debian: apt install python3-pip; else python3 -m ensurepip)"

aside=$folder.partial.$$
trap 'rm -rf "$aside"' EXIT
trap 'exit 1' HUP INT TERM

echo "ONNX Runtime: fetching $version for $platform"
# The interpreter's own version and site settings must not matter: the wheel is named exactly.
PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install \
    --quiet --no-input --no-compile --target "$aside" --no-deps --only-binary=:all: --require-hashes \
    --python-version 3.12 --implementation cp --abi cp312 --platform "$platform" --requirement "$pins" ||
    fail "pip could not install $name $version for $platform (its message is above)"

[ -s "$aside/onnxruntime/capi/$file" ] || fail "the package holds no $file"
mkdir -p "$folder"
mv -f "$aside/onnxruntime/LICENSE" "$aside/onnxruntime/ThirdPartyNotices.txt" "$folder/"
if [ "$package" = gpu ]; then
    # The providers, which the library looks for beside itself.
    mv -f "$aside"/onnxruntime/capi/libonnxruntime_providers_*.so "$folder/"
fi
mv -f "$aside/onnxruntime/capi/$file" "$folder/$file"
if [ "$(uname -s)" = Darwin ]; then
    ln -sf "$file" .ort/libonnxruntime.dylib
fi
ln -s "$file" "$aside/link"
mv -f "$aside/link" "$link"
done_with
