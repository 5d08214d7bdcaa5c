# Metrics to tables and figures. Figures read only the tables, so that restyling retrains nothing. The configuration says
# which experiment has which: several rules make files of the same pattern, each for different experiments.


rule collect:
    input:
        metrics=reads("collect", "metrics"),
        records=reads("collect", "records"),
    output:
        csv=writes("collect", "csv"),
        record=writes("collect", "record"),
    log:
        log_of("collect"),
    wildcard_constraints:
        experiment=experiments_of("collect"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("collect"),
    script:
        "../scripts/collect.py"


# The same table, for masks and known objects: no training is needed.
rule overlap:
    input:
        train=reads("overlap", "train"),
        recipes=reads("overlap", "recipes"),
        records=reads("overlap", "records"),
    output:
        csv=writes("overlap", "csv"),
        record=writes("overlap", "record"),
    log:
        log_of("overlap"),
    wildcard_constraints:
        experiment=experiments_of("overlap"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("overlap"),
    script:
        "../scripts/overlap.py"


rule storage:
    input:
        train=reads("storage", "train"),
        coreset=reads("storage", "coreset"),
        pixels=reads("storage", "pixels"),
        tobias=reads("storage", "tobias"),
    output:
        csv=writes("storage", "csv"),
        record=writes("storage", "record"),
    log:
        log_of("storage"),
    wildcard_constraints:
        experiment=experiments_of("storage"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("storage"),
    script:
        "../scripts/storage.py"


rule figure:
    input:
        csv=reads("figure", "csv"),
    output:
        pdf=report(
            writes("figure", "pdf"),
            caption="../report/figure.rst",
            category="figures",
        ),
        png=writes("figure", "png"),
        caption=writes("figure", "caption"),
        record=writes("figure", "record"),
    log:
        log_of("figure"),
    wildcard_constraints:
        experiment=experiments_of("figure"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("figure"),
    script:
        "../scripts/figure.py"


rule table:
    input:
        runs=reads("table", "runs"),
    output:
        csv=report(
            writes("table", "csv"),
            caption="../report/figure.rst",
            category="tables",
        ),
        md=writes("table", "md"),
        tex=writes("table", "tex"),
        caption=writes("table", "caption"),
        record=writes("table", "record"),
    log:
        log_of("table"),
    wildcard_constraints:
        experiment=experiments_of("table"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("table"),
    script:
        "../scripts/table.py"


rule pictures:
    input:
        train=reads("pictures", "train"),
        recipes=reads("pictures", "recipes"),
    output:
        pdf=report(
            writes("pictures", "pdf"),
            caption="../report/pictures.rst",
            category="figures",
        ),
        png=writes("pictures", "png"),
        record=writes("pictures", "record"),
    log:
        log_of("pictures"),
    wildcard_constraints:
        experiment=experiments_of("pictures"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("pictures"),
    script:
        "../scripts/pictures.py"


rule pixel_pictures:
    input:
        train=reads("pixel_pictures", "train"),
        coreset=reads("pixel_pictures", "coreset"),
        pixels=reads("pixel_pictures", "pixels"),
    output:
        pdf=report(
            writes("pixel_pictures", "pdf"),
            caption="../report/pictures.rst",
            category="figures",
        ),
        png=writes("pixel_pictures", "png"),
        record=writes("pixel_pictures", "record"),
    log:
        log_of("pixel_pictures"),
    wildcard_constraints:
        experiment=experiments_of("pixel_pictures"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("pixel_pictures"),
    script:
        "../scripts/pixel_pictures.py"


rule diagram:
    output:
        pdf=report(
            writes("diagram", "pdf"),
            caption="../report/pictures.rst",
            category="figures",
        ),
        png=writes("diagram", "png"),
        record=writes("diagram", "record"),
    log:
        log_of("diagram"),
    wildcard_constraints:
        experiment=experiments_of("diagram"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("diagram"),
    script:
        "../scripts/diagram.py"


rule cost:
    input:
        runs=reads("cost", "runs"),
        records=reads("cost", "records"),
    output:
        csv=report(
            writes("cost", "csv"),
            caption="../report/figure.rst",
            category="tables",
        ),
        pdf=report(
            writes("cost", "pdf"),
            caption="../report/figure.rst",
            category="figures",
        ),
        png=writes("cost", "png"),
        caption=writes("cost", "caption"),
        record=writes("cost", "record"),
    log:
        log_of("cost"),
    wildcard_constraints:
        experiment=experiments_of("cost"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("cost"),
    script:
        "../scripts/cost.py"
