#!/usr/bin/env bash
# Runs the scenario. The exit code becomes an output: the reports are uploaded before the step fails.
set -euo pipefail

code=0
"$LOADGATE" run "$SCENARIO" --fail-on "$FAIL_ON" --baselines "$BASELINES" \
  --out "${RUNNER_TEMP:?}/$ARTIFACT" --ci github || code=$?
# Where it did not come to a verdict, nobody told the code.
echo "exit-code=$code" >>"$GITHUB_OUTPUT"
