# Snakemake runs this in the folder of the Snakefile once the conda environment is made: the library itself.
python -m pip install --no-deps --quiet --editable .
