#!/bin/sh
# Formatting, lints, the protocol buffers, and the licences and sources of dependencies. What is not installed is said and left
# out; what is installed must be clean.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

$cargo fmt --check
$cargo clippy --all-targets --features train -- -D warnings
$cargo clippy --all-targets -- -D warnings

if command -v npx >/dev/null 2>&1; then
    scripts/buf.sh lint
    echo "lint: buf lint: clean"
else
    echo "lint: npx is not installed: the protocol buffers were not linted" >&2
fi

if command -v cargo-deny >/dev/null 2>&1; then
    $cargo deny --all-features check bans licenses sources
else
    echo "lint: cargo-deny is not installed: licences and sources were not checked" >&2
fi
