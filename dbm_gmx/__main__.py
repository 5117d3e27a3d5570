"""``python -m dbm_gmx``."""

import sys

from dbm_gmx.cli import main

sys.exit(main())
