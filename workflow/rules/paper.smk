# Metrics to tables and figures. Figures read only the tables, so that restyling retrains nothing.


localrules:
    all,
    collect,
    figure,
    table,
    pictures,
    pixel_pictures,
    storage,


rule collect:
    input:
        metrics=metrics_of_experiment,
        costs=costs_of_experiment,
    output:
        csv=PLAN.under("experiments/{experiment}.csv"),
    log:
        f"{PLAN.logs}/experiments/{{experiment}}.log",
    wildcard_constraints:
        experiment=constrained(PLAN.collected),
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=PLAN.options("collect", partial=PLAN.config.partial),
        columns=lambda wildcards: PLAN.columns_of(wildcards.experiment),
        files=lambda wildcards: [PLAN.metrics_of(run) for run, *_ in PLAN.rows[wildcards.experiment]],
        costs=lambda wildcards: [PLAN.costs_of(run) for run, *_ in PLAN.rows[wildcards.experiment]],
    message:
        "collect {wildcards.experiment}"
    script:
        "../scripts/collect.py"


# The same table, of masks and known objects: no training is needed.
rule overlap:
    input:
        train=lambda wildcards: sorted({cell.pack for cell in PLAN.overlaps(wildcards.experiment)}),
        recipes=lambda wildcards: [cell.recipe for cell in PLAN.overlaps(wildcards.experiment)],
    output:
        csv=PLAN.under("experiments/{experiment}.csv"),
    log:
        f"{PLAN.logs}/experiments/{{experiment}}.log",
    wildcard_constraints:
        experiment=with_output("overlap"),
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=PLAN.options("overlap"),
        columns=lambda wildcards: [cell.columns for cell in PLAN.overlaps(wildcards.experiment)],
        packs=lambda wildcards: [cell.pack for cell in PLAN.overlaps(wildcards.experiment)],
    message:
        "overlap of masks and objects: {wildcards.experiment}"
    script:
        "../scripts/overlap.py"


rule figure:
    input:
        csv=PLAN.under("experiments/{experiment}.csv"),
    output:
        pdf=report(
            f"{PLAN.figures}/{{experiment}}.pdf",
            caption="../report/figure.rst",
            category="figures",
        ),
        png=f"{PLAN.figures}/{{experiment}}.png",
        caption=PLAN.under("captions/{experiment}_figure.rst"),
    log:
        f"{PLAN.logs}/figures/{{experiment}}.log",
    wildcard_constraints:
        experiment=with_output("figure"),
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=lambda wildcards: drawn_options(PLAN, "figure", wildcards.experiment),
        about=lambda wildcards: PLAN.config.experiments[wildcards.experiment].about,
        label=PLAN.config.label,
        note=lambda wildcards: PLAN.note(wildcards.experiment),
        planned=lambda wildcards: PLAN.planned(wildcards.experiment),
    message:
        "figure {wildcards.experiment}"
    script:
        "../scripts/figure.py"


rule table:
    input:
        csv=PLAN.under("experiments/{experiment}.csv"),
    output:
        csv=report(
            f"{PLAN.figures}/{{experiment}}_table.csv",
            caption="../report/figure.rst",
            category="tables",
        ),
        md=f"{PLAN.figures}/{{experiment}}_table.md",
        tex=f"{PLAN.figures}/{{experiment}}_table.tex",
        caption=PLAN.under("captions/{experiment}_table.rst"),
    log:
        f"{PLAN.logs}/tables/{{experiment}}.log",
    wildcard_constraints:
        experiment=with_output("table"),
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=lambda wildcards: drawn_options(PLAN, "table", wildcards.experiment),
        about=lambda wildcards: PLAN.config.experiments[wildcards.experiment].about,
        label=PLAN.config.label,
        note=lambda wildcards: PLAN.note(wildcards.experiment),
        planned=lambda wildcards: PLAN.planned(wildcards.experiment),
    message:
        "table {wildcards.experiment}"
    script:
        "../scripts/table.py"


rule pictures:
    input:
        train=lambda wildcards: pack("train").format(dataset=PLAN.rows[wildcards.experiment][0].run.selection.dataset),
        recipes=lambda wildcards: PLAN.picture_recipes(wildcards.experiment),
    output:
        pdf=report(
            f"{PLAN.figures}/{{experiment}}.pdf",
            caption="../report/pictures.rst",
            category="figures",
        ),
        png=f"{PLAN.figures}/{{experiment}}.png",
    log:
        f"{PLAN.logs}/figures/{{experiment}}.log",
    wildcard_constraints:
        experiment=with_pictures("tobias"),
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=lambda wildcards: PLAN.picture_options(wildcards.experiment),
        label=PLAN.config.label,
        note=lambda wildcards: PLAN.note(wildcards.experiment),
    message:
        "pictures {wildcards.experiment}"
    script:
        "../scripts/pictures.py"


rule pixel_pictures:
    input:
        train=lambda wildcards: PLAN.pixel_files(wildcards.experiment, first=True)["train"][0],
        coreset=lambda wildcards: PLAN.pixel_files(wildcards.experiment, first=True)["coresets"][0],
        pixels=lambda wildcards: PLAN.pixel_files(wildcards.experiment, first=True)["pixels"][0],
    output:
        pdf=report(
            f"{PLAN.figures}/{{experiment}}.pdf",
            caption="../report/figure.rst",
            category="figures",
        ),
        png=f"{PLAN.figures}/{{experiment}}.png",
    log:
        f"{PLAN.logs}/figures/{{experiment}}.log",
    wildcard_constraints:
        experiment=with_pictures("pixels"),
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=lambda wildcards: PLAN.picture_options(wildcards.experiment),
        label=PLAN.config.label,
        note=lambda wildcards: PLAN.note(wildcards.experiment),
    message:
        "pictures {wildcards.experiment}"
    script:
        "../scripts/pixel_pictures.py"


rule storage:
    input:
        train=lambda wildcards: PLAN.pixel_files(wildcards.experiment)["train"],
        coresets=lambda wildcards: PLAN.pixel_files(wildcards.experiment)["coresets"],
        pixels=lambda wildcards: PLAN.pixel_files(wildcards.experiment)["pixels"],
        tobias=lambda wildcards: PLAN.pixel_files(wildcards.experiment)["tobias"],
    output:
        csv=PLAN.under("experiments/{experiment}.csv"),
    log:
        f"{PLAN.logs}/experiments/{{experiment}}.log",
    wildcard_constraints:
        experiment=with_output("storage"),
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=lambda wildcards: PLAN.storage_options(wildcards.experiment),
        columns=lambda wildcards: PLAN.storage_columns(wildcards.experiment),
    message:
        "storage {wildcards.experiment}"
    script:
        "../scripts/storage.py"
