#!/usr/bin/env bash
# Adds a run of the default branch that passed to the baseline; the first one is accepted.
set -euo pipefail

run="${RUNNER_TEMP:?}/$ARTIFACT"
if [[ -d "$BASELINES" && -n "$(ls -A "$BASELINES")" ]]; then
  "$LOADGATE" baseline add "$run" --branch "$BRANCH" --baselines "$BASELINES"
else
  "$LOADGATE" baseline accept "$run" --reason "the first run of $BRANCH" --baselines "$BASELINES"
fi
