#!/bin/sh
# Generates the Python stubs of Undertone's API into the folder given, or beside this script. Needs grpcio-tools:
#   python3 -m pip install -r examples/python/requirements.txt
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
exec "${PYTHON:-python3}" -m grpc_tools.protoc --proto_path="$here/../../proto" --python_out="$out" --grpc_python_out="$out" \
    undertone/v1/undertone.proto undertone/v1/supervision.proto
