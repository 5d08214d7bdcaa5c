"""`dqv2`, or `python -m dqv2`: the command line beside Snakemake's."""

import sys

from dqv2.cli import main

if __name__ == "__main__":
    sys.exit(main())
