from dqv2.runtime.script import run

run(snakemake, __file__)
