# Coresets to share, and coresets that others published.


rule coresets:
    input:
        PLAN.exports(),
        PLAN.records_of(PLAN.exports()),


rule export:
    input:
        train=reads("export", "train"),
        coreset=reads("export", "coreset"),
        recipe=reads("export", "recipe"),
        pixels=reads("export", "pixels"),
    output:
        folder=directory(writes("export", "folder")),
        record=writes("export", "record"),
    log:
        log_of("export"),
    conda:
        "../../envs/dqv2.yaml"
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        options=options("export"),
    script:
        "../scripts/export.py"


rule fetch_coreset:
    output:
        ids=writes("fetch_coreset", "ids"),
        record=writes("fetch_coreset", "record"),
    log:
        log_of("fetch_coreset"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("fetch_coreset"),
    script:
        "../scripts/fetch_coreset.py"
