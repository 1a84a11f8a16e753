#!/bin/sh
# Runs buf, the linter and client for protocol buffers, in the one version that all checks use. Needs npx.
exec npx --yes --loglevel=error @bufbuild/buf@1.75.0 "$@"
