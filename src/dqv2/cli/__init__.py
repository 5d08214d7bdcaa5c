"""Plan, check, publish and compare runs of the pipeline. `dqv2 COMMAND --help` explains a command, with examples."""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from io import TextIOWrapper

from dqv2.runtime.sentences import sentence, with_place

try:
    from dqv2.cli import plan, published, schema, stages, verify
except (ValueError, TypeError, ImportError, SyntaxError) as error:  # an entry that somebody adds to a table
    raise SystemExit(with_place(error)) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status; where it fails, print one sentence and return 1."""
    parser = argparse.ArgumentParser(prog="dqv2", description=__doc__)
    as_written = partial(argparse.ArgumentParser, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=as_written)
    for module in (plan, verify, published, stages, schema):
        module.add_to(commands)
    args = parser.parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):  # a file name may not be encodable
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = args.run(args)
        if sys.stdout:  # not closed (`dqv2 plan >&-`)
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # of `| head`: what is left goes nowhere, or Python would complain of it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:  # a ConfigError, or a network that cannot be built
        said = sentence(error)
        if isinstance(error, FileNotFoundError) and error.filename == "config.yaml":
            said = "There is no config.yaml here: run dqv2 in the project's folder."
        elif isinstance(error, FileNotFoundError | NotADirectoryError) and error.filename:
            said = f"There is no {error.filename}."
        elif isinstance(error, IsADirectoryError):
            said = f"{error.filename} is a folder: name a file in it."
        print(said, file=sys.stderr)
        return 1
