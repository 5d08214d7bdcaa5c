# Snakemake runs this in its working folder once the conda environment is made: the library itself, of the clone of the
# Snakefile (workflow/rules/common.smk).
python -m pip install --no-deps --quiet --editable "$DQV2_CLONE"
