"""`python -m dqv2`, the same as the command `dqv2`."""

import sys

from dqv2.cli import main

if __name__ == "__main__":
    sys.exit(main())
