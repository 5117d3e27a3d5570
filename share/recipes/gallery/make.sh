#!/usr/bin/env bash
# The pictures of the gallery: make.sh FOLDER [NAME ...].  Puts the atoms back on the first frame of each system, draws
# beads and atoms (NAME.png), and keeps what backmap says (NAME.txt) and its CPU time (NAME.time).  Pictures of the
# molecules are made by molecule.py.  Needs dbm-gmx on the PATH, and python with matplotlib.
set -euo pipefail
share=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "$1" && cd "$1" && shift
export TIMEFORMAT='%U s'

finish() { # finish NAME BEADS TRAJECTORY [OPTION OF draw.py ...]
    python "$share/recipes/figure/draw.py" "$2" "$3" "$1.gro" "$1.png" --dpi 72 "${@:4}"
    echo "$1: $(<"$1.time")"
    tail -n 1 "$1.txt"
}

shipped() { # shipped NAME LAST [OPTION ...]: a system of share/reference, up to this time
    local from=$share/reference/$1
    { time dbm-gmx backmap -s "$from/cg.tpr" -f "$from/cg.xtc" -p "$from/topol.top" -m "$from/mapping.xml" \
        --mdp "$from/run.mdp" -e "$2" --threads 1 -o "$1.xtc" -c "$1.gro" "${@:3}" >"$1.txt" 2>"$1.log"; } \
        2>"$1.time"
    finish "$1" "$from/cg.tpr" "$from/cg.xtc" -p "$from/topol.top" -m "$from/mapping.xml"
}

hexane() {
    local from=$share/examples/hexane
    dbm-gmx map init -p "$from/topol.top" -s "$from/cg.gro" -cp "$from/cg.top" -o mapping
    { time dbm-gmx backmap -s "$from/cg.gro" -cp "$from/cg.top" -f "$from/cg.xtc" -p "$from/topol.top" -m mapping \
        --mdp "$from/md.mdp" -e 160 --threads 1 -o hexane.xtc -c hexane.gro >hexane.txt 2>hexane.log; } 2>hexane.time
    finish hexane "$from/cg.gro" "$from/cg.xtc" -cp "$from/cg.top" -p "$from/topol.top" -m mapping/HEX.xml
}

bilayer() { # the tutorial of a Martini bilayer as it is; needs GROMACS
    { time bash "$share/docs/scripts/martini.sh" bilayer --spread 0.05 --annealing 0 --windows 0 --no-check \
        --threads 1 >bilayer.txt 2>bilayer.log; } 2>bilayer.time
    cp bilayer/aa.gro bilayer.gro
    finish bilayer bilayer/cg.tpr bilayer/cg.gro -p bilayer/topol.top --upright
}

for name in "${@:-sps aps cumene octane hexane bilayer}"; do
    for one in $name; do
        case $one in
        sps) shipped sps 300 ;;
        aps) shipped aps 320 -r "$share/reference/aps/aa.gro" ;;
        cumene | octane) shipped "$one" 30 ;;
        hexane | bilayer) $one ;;
        *) echo "no system $one; there are sps, aps, cumene, octane, hexane and bilayer" >&2 && exit 1 ;;
        esac
    done
done
