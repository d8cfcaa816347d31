#!/usr/bin/env bash
# The program to use: one that is given, or that of this action, built once per revision and runner.
set -euo pipefail

main() {
  local sources root program
  if [[ -n "${PROGRAM:-}" ]]; then
    program=$(command -v -- "$PROGRAM")
  else
    sources=$(cd "$GITHUB_ACTION_PATH/../.." && pwd)
    root="${RUNNER_TOOL_CACHE:?}/loadgate/$(revision "$sources")"
    program="$root/bin/loadgate"
    if [[ ! -x "$program" ]]; then
      cargo install --locked --quiet --path "$sources" --root "$root" --bin loadgate
    fi
  fi
  echo "program=$program" >>"$GITHUB_OUTPUT"
}

# By content: what GitHub unpacks for an action is no repository.
revision() {
  (cd "$1" && find Cargo.toml Cargo.lock src templates assets scenarios/scenario.schema.json -type f -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -c1-40)
}

main
