#!/usr/bin/env bash
# The first tutorial (share/docs/tutorial-polystyrene.md) on one frame: polystyrene.sh FOLDER [OPTION OF backmap ...]
set -euo pipefail
share=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
system=$share/reference/sps
mkdir -p "$1" && cd "$1" && shift

dbm-gmx check -s "$system/cg.tpr" -f "$system/cg.xtc" --mdp "$system/run.mdp"
dbm-gmx backmap -s "$system/cg.tpr" -f "$system/cg.xtc" --mdp "$system/run.mdp" -e 300 -o aa.xtc -c aa.gro "$@"
dbm-gmx evaluate -p "$system/topol.top" -f aa.xtc -r "$system/aa.xtc" --cg "$system/cg.tpr" "$system/cg.xtc" \
    -m "$system/mapping.xml" --mdp "$system/run.mdp" --no-conformations --no-classifier --json >scores.json
