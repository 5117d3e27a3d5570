"""How many workers pay: a run on paper, from what a frame costs.

    python schedule.py --frame 5.2 --client 0.06 --once 60 --frames 1000

The client reads, judges and writes frames one after the other; workers rebuild them.  Frames take unequal
times (--spread).  As many jobs are in flight as in the program.
"""

from __future__ import annotations

import argparse
import heapq
import random

AHEAD = 3
"""Jobs for each worker that are sent or wait, as in dbm_gmx.backmapping.rebuilder."""

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def wall_time(costs: list[float], workers: int, *, client: float, once: float) -> float:
    """Time of a run, s: workers do frames of these costs, the client takes them in order.

    Parameters
    ----------
    costs
        s, of each frame on a worker.
    workers
        How many.
    client, once
        s, of each frame on the client, and before the first one.
    """
    free = [once] * workers
    heapq.heapify(free)
    ended: list[float] = []
    now, sent = once, 0
    for number in range(len(costs)):
        while sent < min(len(costs), number + AHEAD * workers):
            begin = max(heapq.heappop(free), now)
            ended.append(begin + costs[sent])
            heapq.heappush(free, ended[-1])
            sent += 1
        now = max(now, ended[number]) + client
    return now


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frame", type=float, required=True, help="s of a frame on a worker")
    parser.add_argument("--client", type=float, required=True, help="s of a frame on the client")
    parser.add_argument("--once", type=float, default=0.0, help="s before the first frame")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--spread", type=float, default=0.2, help="standard deviation over mean of a frame")
    options = parser.parse_args()
    dice = random.Random(1)
    costs = [max(0.1, dice.gauss(1.0, options.spread)) * options.frame for _ in range(options.frames)]
    alone = options.once + sum(costs) + options.frames * options.client
    print(f"{'workers':>7}{'time (s)':>12}{'speed-up':>10}{'efficiency':>12}")
    for workers in WORKERS:
        time = wall_time(costs, workers, client=options.client, once=options.once)
        print(f"{workers:7}{time:12.0f}{alone / time:10.1f}{100 * alone / time / workers:10.0f} %")
    print(f"the client alone takes {options.frames * options.client + options.once:.0f} s: no more workers")
    print(f"than {options.frame / options.client:.0f} can be kept busy")


if __name__ == "__main__":
    main()
