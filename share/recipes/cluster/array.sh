#!/bin/bash
# A trajectory in parts, each a task of a job array (Slurm), put together in the end.  Needs no Dask.
#
#     jobs=$(sbatch --parsable --array=1-10 array.sh -s cg.tpr -f cg.xtc --mdp md.mdp -o aa.xtc)
#     sbatch --dependency=afterok:$jobs --wrap "dbm-gmx join -o aa.xtc aa_part*.xtc"
#
# A task that is ended goes on where it was, when it is submitted again with the same options.  What is done
# before the first frame (trials of annealing, a memory) is done in each task: about ten frames' worth.
#SBATCH --job-name=dbm-gmx
#SBATCH --cpus-per-task=1
#SBATCH --time=24:00:00
#SBATCH --mem=4G
set -euo pipefail
count=${SLURM_ARRAY_TASK_COUNT:?"give sbatch --array=1-N"}
exec dbm-gmx backmap "$@" --part "$SLURM_ARRAY_TASK_ID/$count" --threads "${SLURM_CPUS_PER_TASK:-1}" \
    --log "part_$SLURM_ARRAY_TASK_ID.log"
