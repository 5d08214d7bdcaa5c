# Published sets onto the disk, and images to packs: uint8, memory-mapped, with a manifest of sample ids.


# Compute nodes have no internet: fetching is for the machine where snakemake was started. The output is a note that the
# set is there; the archive and the folder themselves are nobody's output, so that Snakemake never removes them.
for fetched, name in PLAN.fetches.items():

    rule:
        name:
            f"fetch_{name}"
        output:
            fetched=fetched,
        log:
            f"{PLAN.logs}/fetch_{name}.log",
        localrule: True
        conda:
            "../../envs/dqv2.yaml"
        params:
            options=PLAN.options("fetch", name=name),
        message:
            "fetch {params.options[name]}"
        script:
            "../scripts/fetch.py"


rule pack:
    input:
        fetched=lambda wildcards: PLAN.fetched_of(wildcards.dataset),
    output:
        train=directory(pack("train")),
        validation=directory(pack("validation")),
        test=directory(pack("test")),
        options=PLAN.under(paths.PACK_OPTIONS),
        splits=PLAN.under(paths.SPLITS),
    log:
        f"{PLAN.logs}/{{dataset}}/pack.log",
    benchmark:
        PLAN.under("benchmarks/{dataset}/pack.tsv")
    conda:
        "../../envs/dqv2.yaml"
    threads: threads("pack")
    resources:
        **needs("pack"),
    params:
        options=lambda wildcards: PLAN.pack_options(wildcards.dataset),
    message:
        "pack {wildcards.dataset}"
    script:
        "../scripts/pack.py"
