"""What a run will cost, before it runs: `dqv2 plan --cost`. The Snakefile imports nothing of this."""
