"""dbm-gmx on the nodes of a Slurm cluster: workers are jobs of their own, started and ended from here.

    python slurm.py --jobs 16 --walltime 12:00:00 --queue compute -- backmap -s cg.tpr -f cg.xtc ... -o aa.xtc

Run it where it may stay: on a login node, or in a job of one core.  It asks Slurm for so many jobs of one
core each.  Frames are done by those that have begun; a job that Slurm ends is replaced, and its frame done
again.  What follows -- is a command of dbm-gmx (backmap, relax or evaluate).  Other batch systems:
PBSCluster, SGECluster, LSFCluster of dask-jobqueue in place of SLURMCluster.
Needs: pip install 'dbm-gmx[cluster]'
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from dask_jobqueue import SLURMCluster


def main() -> int:
    """Start workers, run the command on them; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=4, help="jobs of one core each (%(default)s)")
    parser.add_argument("--walltime", default="24:00:00", help="of each job (%(default)s)")
    parser.add_argument("--memory", default="4GB", help="of each job (%(default)s)")
    parser.add_argument("--queue", help="partition")
    parser.add_argument("--account", help="what is charged")
    parser.add_argument("--interface", help="network that nodes reach each other by, as ib0")
    parser.add_argument("command", nargs="+", help="after --: a command of dbm-gmx with its options")
    options = parser.parse_args()
    with SLURMCluster(
        cores=1,
        processes=1,
        memory=options.memory,
        walltime=options.walltime,
        queue=options.queue,
        account=options.account,
        interface=options.interface,
        worker_extra_args=["--lifetime-stagger", "1m"],
    ) as cluster:
        cluster.adapt(minimum_jobs=options.jobs, maximum_jobs=options.jobs)  # a job that is lost is replaced
        address = cluster.scheduler_address
        return subprocess.run(["dbm-gmx", *options.command, "--dask", address], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
