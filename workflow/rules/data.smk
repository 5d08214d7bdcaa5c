# Download published datasets, and pack images: uint8, memory-mapped, with a manifest of sample ids.


# Compute nodes may have no internet, so fetching runs on the machine where snakemake was started.
rule fetch:
    output:
        fetched=writes("fetch", "fetched"),
    log:
        log_of("fetch"),
    wildcard_constraints:
        root=fetched("root"),
        archive=fetched("archive"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("fetch"),
    script:
        "../scripts/fetch.py"


rule pack:
    input:
        fetched=reads("pack", "fetched"),
    output:
        train=directory(writes("pack", "train")),
        validation=directory(writes("pack", "validation")),
        test=directory(writes("pack", "test")),
        options=writes("pack", "options"),
        splits=writes("pack", "splits"),
        files=writes("pack", "files"),
        record=writes("pack", "record"),
    log:
        log_of("pack"),
    conda:
        "../../envs/dqv2.yaml"
    threads: cores("pack")
    resources:
        mem_mb=grows(8000),
        runtime=grows(240),
    params:
        options=options("pack"),
    script:
        "../scripts/pack.py"
