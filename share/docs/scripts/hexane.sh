#!/usr/bin/env bash
# The second tutorial (share/docs/tutorial-own-molecule.md): hexane.sh FOLDER [OPTION OF backmap ...]
set -euo pipefail
share=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "$1" && cd "$1" && shift
cp "$share"/examples/hexane/* .

dbm-gmx map init -p topol.top -s cg.gro -cp cg.top -o mapping
dbm-gmx check -s cg.gro -cp cg.top -f cg.xtc -p topol.top -m mapping --mdp md.mdp
dbm-gmx backmap -s cg.gro -cp cg.top -f cg.xtc -p topol.top -m mapping --mdp md.mdp -o aa.xtc -c aa.gro "$@"
dbm-gmx evaluate -p topol.top -f aa.xtc --mdp md.mdp --json >scores.json
dbm-gmx map -s aa.gro -f aa.xtc -p topol.top -m mapping -o back.xtc
