# Images to packs: uint8, memory-mapped, with a manifest of sample ids.


rule pack:
    output:
        train=directory(pack("train")),
        validation=directory(pack("validation")),
        test=directory(pack("test")),
        options=PLAN.under(paths.PACK_OPTIONS),
    log:
        f"{PLAN.logs}/{{dataset}}/pack.log",
    benchmark:
        PLAN.under("benchmarks/{dataset}/pack.tsv")
    conda:
        "../../envs/dqv2.yaml"
    resources:
        **needs("pack"),
    params:
        options=lambda wildcards: PLAN.pack_options(wildcards.dataset),
    message:
        "pack {wildcards.dataset}"
    script:
        "../scripts/pack.py"
