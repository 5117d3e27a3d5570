#!/usr/bin/env bash
# Make examples/octane again: n-octane with OPLS-AA at 350 K and 1 bar, and its beads.
# Needs gmx (2022 or later) and a python with MDAnalysis; a quarter of an hour on one core.
# Usage: run.sh EMPTY_FOLDER
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
example=$here/../../examples/octane
first=150 last=600 apart=50 # ps: the frames that are kept
cd "${1:?usage: run.sh EMPTY_FOLDER}"
run() { # run NAME STRUCTURE [grompp options]: one simulation
    gmx -quiet grompp -f "$1.mdp" -c "$2" -p "$example/topol.top" -o "$1.tpr" "${@:3}"
    gmx -quiet mdrun -deffnm "$1" -nt "${THREADS:-1}"
}

cp "$here"/{min,npt}.mdp .
gmx -quiet insert-molecules -ci "$here/octane.gro" -nmol 80 -box 3.2 -try 1000 -seed 1 -o start.gro
run min start.gro
run npt min.gro
echo Density | gmx -quiet energy -f npt.edr -b "$first" -o density.xvg

# The bonds of the frames are those of an unconstrained liquid: 1 ps of Langevin dynamics for each.
for ((time = first; time <= last; time += apart)); do
    sed "s/^gen-seed.*/gen-seed = $time/; \$a tinit = $((time - 1))" "$here/sd.mdp" >"sd_$time.mdp"
    run "sd_$time" npt.tpr -t npt.trr -time "$time"
done
gmx -quiet trjcat -f sd_*.xtc -o ends.xtc
echo System | gmx -quiet trjconv -s "sd_$first.tpr" -f ends.xtc -b "$first" -dt "$apart" -pbc atom -o aa.xtc
echo System | gmx -quiet trjconv -s "sd_$first.tpr" -f aa.xtc -dump "$first" -o aa.gro

python3 "$here/beads.py" "$example/mapping.xml" aa.gro aa.xtc
gmx -quiet grompp -f "$here/cg.mdp" -c cg.gro -p "$example/cg.top" -o cg.tpr
echo "made aa.gro, aa.xtc, cg.tpr and cg.xtc in $PWD"
