"""The program: ``dbm-gmx``, or ``python -m dbm_gmx``."""

import signal
import sys


def main() -> int:
    """Run a command; returns the exit code.

    Ctrl-C while the program is loaded ends it without a word, as it ends others: there is nothing to be done
    in order yet, and on the disks of a cluster loading takes seconds.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as by nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dbm_gmx.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
