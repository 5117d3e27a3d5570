#!/bin/bash
# A Martini bilayer with water and ions, atoms put back, relaxed and run: martini.sh FOLDER [LIPIDS] [options of backmap]
# Needs gmx.  Without options: frames in full, as a user has them.  --quick: little sampling, to try the way.
set -eu
share=$(cd "$(dirname "$0")/../.." && pwd)
folder=$1 lipids=${2:-32}
shift; [ $# -gt 0 ] && shift
[ "${1:-}" = --quick ] && { shift; set -- --annealing 0 --windows 0 --no-check "$@"; }

python "$share/recipes/martini/bilayer.py" "$folder" --lipids "$lipids"
cd "$folder"
run() { gmx -quiet mdrun -deffnm "$1" -ntmpi 1 -ntomp "${OMP_NUM_THREADS:-1}" > "$1.out" 2>&1; }
start() { gmx -quiet grompp "$@" -maxwarn 2 > grompp.out 2>&1 || { cat grompp.out; exit 1; }; }

# beads
start -f em.mdp -c start.gro -p cg.top -o em.tpr; run em
start -f eq.mdp -c em.gro -p cg.top -o eq.tpr; run eq
start -f cg.mdp -c eq.gro -t eq.cpt -p cg.top -o cg.tpr; run cg

# atoms: no mapping is needed
dbm-gmx check -s cg.tpr -f cg.xtc -p topol.top --mdp md.mdp
dbm-gmx backmap -s cg.tpr -f cg.xtc -b 1000 -p topol.top --mdp md.mdp -o aa.gro "$@"
dbm-gmx relax -f aa.gro -p topol.top --mdp md.mdp -o relaxed.gro --no-restraints

# 10 ps at 2 fs
start -f md.mdp -c relaxed.gro -p topol.top -o md.tpr; run md
printf 'Potential\nTemperature\n\n' | gmx -quiet energy -f md.edr 2> /dev/null | tail -n 3
