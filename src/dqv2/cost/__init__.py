"""What a run will cost, before it runs: `dqv2 plan --cost`; and what the networks of its methods compute."""
