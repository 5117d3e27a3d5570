#!/usr/bin/env bash
# Memories of the systems in share/reference and share/examples, made by the sampler itself on their beads:
#     bash share/recipes/memories/make.sh EMPTY_FOLDER [NAME...]
set -euo pipefail

share=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=${1:?where the memories go: an empty folder}
shift
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

memory() { # memory NAME FOLDER RUN.mdp OPTIONS...
    local from=$share/$2
    dbm-gmx backmap -s "$from/cg.tpr" -f "$from/cg.xtc" -p "$from/topol.top" -m "$from/mapping.xml" \
        --mdp "$from/$3" "${@:4}" --no-check -o "$work/$1.xtc" --memory "$folder/$1.npz"
}

for name in "${@:-sps aps octane cumene octane-example}"; do
    for one in $name; do
        case $one in
        sps | aps) memory "$one" "reference/$one" run.mdp -r "$share/reference/$one/aa.gro" ;;
        octane | cumene) memory "$one" "reference/$one" run.mdp ;;
        octane-example) memory "$one" examples/octane nvt.mdp ;;
        *) echo "no memory $one; there are sps, aps, octane, cumene and octane-example" >&2 && exit 1 ;;
        esac
    done
done
