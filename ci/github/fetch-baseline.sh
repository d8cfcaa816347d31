#!/usr/bin/env bash
# The baselines that the last green run of the base branch uploaded. That there are none yet is no
# failure: loadgate says then that there is nothing to compare with. That they cannot be had is one.
set -euo pipefail

main() {
  local run count
  run=$(gh run list --workflow "$WORKFLOW" --branch "$BRANCH" --event push --status success \
    --limit 1 --json databaseId --jq '.[0].databaseId // empty')
  if [[ -z "$run" ]]; then
    echo "loadgate: no green run of $BRANCH yet, so there is no baseline"
    return
  fi
  export NAME="$ARTIFACT-baselines"
  count=$(gh api "repos/$GITHUB_REPOSITORY/actions/runs/$run/artifacts?per_page=100" \
    --jq '[.artifacts[] | select(.name == env.NAME and (.expired | not))] | length')
  if [[ "$count" == 0 ]]; then
    echo "loadgate: run $run of $BRANCH has no artifact $NAME"
    return
  fi
  gh run download "$run" --name "$NAME" --dir "$BASELINES"
}

main
