#!/usr/bin/env bash
# The tutorial of a Martini bilayer (share/docs/tutorial-martini.md): martini.sh FOLDER [OPTION OF backmap ...]
# Needs GROMACS.  LIPIDS and STEPS make another box and a coarse-grained run of another length.
set -euo pipefail
share=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python3 "$share/recipes/martini/bilayer.py" "$1" --lipids "${LIPIDS:-32}" --steps "${STEPS:-50000}"
cd "$1" && shift

run() { # run NAME OPTION OF grompp ...
    gmx -quiet grompp -o "$1.tpr" -maxwarn 2 "${@:2}" >"$1.out" 2>&1 || { cat "$1.out" && exit 1; }
    gmx -quiet mdrun -deffnm "$1" -ntmpi 1 -ntomp "${OMP_NUM_THREADS:-1}" >>"$1.out" 2>&1 || { cat "$1.out" && exit 1; }
}
run em -f em.mdp -c start.gro -p cg.top
run eq -f eq.mdp -c em.gro -p cg.top
run cg -f cg.mdp -c eq.gro -t eq.cpt -p cg.top

dbm-gmx check -s cg.tpr -f cg.xtc -p topol.top --mdp md.mdp
dbm-gmx backmap -s cg.tpr -f cg.gro -p topol.top --mdp md.mdp -o aa.gro "$@"
dbm-gmx relax -f aa.gro -p topol.top --mdp md.mdp -o relaxed.gro --no-restraints
run md -f md.mdp -c relaxed.gro -p topol.top
printf 'Potential\nTemperature\n\n' | gmx -quiet energy -f md.edr 2>/dev/null | tail -n 3
