#!/usr/bin/env bash
# The baselines that the last green run of the base branch uploaded. That there are none yet is no
# failure: loadgate says then that there is nothing to compare with.
set -euo pipefail

main() {
  local run
  run=$(gh run list --workflow "$WORKFLOW" --branch "$BRANCH" --event push --status success \
    --limit 1 --json databaseId --jq '.[0].databaseId // empty')
  if [[ -z "$run" ]]; then
    echo "loadgate: no green run of $BRANCH yet, so there is no baseline"
    return
  fi
  if ! gh run download "$run" --name loadgate-baselines --dir "$BASELINES"; then
    echo "loadgate: run $run of $BRANCH has no artifact loadgate-baselines"
  fi
}

main
