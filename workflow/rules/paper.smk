# Metrics to tables and figures. Figures read only the tables, so that restyling retrains nothing.


def metrics_of_experiment(wildcards):
    files = [PLAN.metrics_of(run) for run, _ in PLAN.rows[wildcards.experiment]]
    return [file for file in files if not PLAN.config.partial or Path(file).exists()]


def figure_options(wildcards):
    block = PLAN.config.experiments[wildcards.experiment].figure
    return PLAN.options("figure", **block.model_dump(exclude_none=True))


def table_options(wildcards):
    block = PLAN.config.experiments[wildcards.experiment].table
    return PLAN.options("table", **block.model_dump(exclude_none=True))


def with_output(kind):
    """The active experiments that make a figure, a table or pictures, as a wildcard constraint."""
    names = [name for name in PLAN.config.targets if getattr(PLAN.config.experiments[name], kind)]
    return "|".join(names) or "(?!)"


localrules:
    all,
    collect,
    figure,
    table,
    pictures,


rule collect:
    input:
        metrics=metrics_of_experiment,
    output:
        csv=PLAN.under("experiments/{experiment}.csv"),
    log:
        f"{PLAN.logs}/experiments/{{experiment}}.log",
    params:
        options=PLAN.options("collect", partial=PLAN.config.partial),
        columns=lambda wildcards: PLAN.columns_of(wildcards.experiment),
        files=lambda wildcards: [PLAN.metrics_of(run) for run, _ in PLAN.rows[wildcards.experiment]],
    conda:
        "../../envs/dqv2.yaml"
    message:
        "collect {wildcards.experiment}"
    script:
        "../scripts/collect.py"


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
    wildcard_constraints:
        experiment=with_output("figure"),
    log:
        f"{PLAN.logs}/figures/{{experiment}}.log",
    params:
        options=figure_options,
        label=PLAN.config.label,
        note=lambda wildcards: PLAN.note(wildcards.experiment),
    conda:
        "../../envs/dqv2.yaml"
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
    wildcard_constraints:
        experiment=with_output("table"),
    log:
        f"{PLAN.logs}/tables/{{experiment}}.log",
    params:
        options=table_options,
        label=PLAN.config.label,
        note=lambda wildcards: PLAN.note(wildcards.experiment),
    conda:
        "../../envs/dqv2.yaml"
    message:
        "table {wildcards.experiment}"
    script:
        "../scripts/table.py"


rule pictures:
    input:
        train=lambda wildcards: pack("train").format(
            dataset=PLAN.rows[wildcards.experiment][0][0].selection.dataset
        ),
        recipes=lambda wildcards: PLAN.picture_recipes(wildcards.experiment),
    output:
        pdf=report(
            f"{PLAN.figures}/{{experiment}}.pdf",
            caption="../report/figure.rst",
            category="figures",
        ),
        png=f"{PLAN.figures}/{{experiment}}.png",
    wildcard_constraints:
        experiment=with_output("pictures"),
    log:
        f"{PLAN.logs}/figures/{{experiment}}.log",
    params:
        options=lambda wildcards: PLAN.picture_options(wildcards.experiment),
        label=PLAN.config.label,
        note=lambda wildcards: PLAN.note(wildcards.experiment),
    conda:
        "../../envs/dqv2.yaml"
    message:
        "pictures {wildcards.experiment}"
    script:
        "../scripts/pictures.py"
