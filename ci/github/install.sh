#!/usr/bin/env bash
# The program to use: one that is given, or that of this action, built once per revision and runner.
set -euo pipefail

main() {
  if [[ -n "${PROGRAM:-}" ]]; then
    tell "$(command -v -- "$PROGRAM")"
    return
  fi
  local sources root
  sources=$(cd "$GITHUB_ACTION_PATH/../.." && pwd)
  root="${RUNNER_TOOL_CACHE:?}/loadgate/$(revision "$sources")"
  if [[ ! -x "$root/bin/loadgate" ]]; then
    cargo install --locked --quiet --path "$sources" --root "$root" --bin loadgate
  fi
  tell "$root/bin/loadgate"
}

# Of the sources themselves, where they are no repository.
revision() {
  git -C "$1" rev-parse HEAD 2>/dev/null || sha256sum "$1/Cargo.lock" | cut -c1-40
}

tell() {
  echo "program=$1" >>"$GITHUB_OUTPUT"
}

main
