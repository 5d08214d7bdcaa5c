"""Jobs of the demo's, run in this process."""

import os

import torch

from dqv2.runtime.logging import logger

NOTHING = {"options": {}, "wildcards": {}, "inputs": {}, "outputs": {}}  # of a record that says something else
AXES = {"dataset": "digits", "selection": "o100/random", "keep": "0.1", "seed": "0"}
CORESET = "results/demo/digits/coreset/o100/random/keep-0.1/seed-0/coreset.csv"
BINS = "results/demo/digits/bins/o100/random/seed-0/bins.csv"


def request_of(plan, job, **more):
    """What a script hands over."""
    return {
        "stage": job.stage.name,
        "input": plan.reads(job),
        "output": {name: plan.file_of(job, name) for name in job.stage.writes},
        "options": plan.options(job),
        "wildcards": dict(job.wildcards),
        "threads": 1,
        "resources": {},
        "log": f"logs/{job.stage.name}.log",
        "config": {},
    } | more


class AsBefore:
    """A job limits the threads of its process and takes its log: not those of the tests."""

    def __enter__(self):
        self.threads, self.env = torch.get_num_threads(), dict(os.environ)

    def __exit__(self, *_):
        torch.set_num_threads(self.threads)
        os.environ.clear()
        os.environ.update(self.env)
        logger.handlers.clear()
        logger.propagate = True
