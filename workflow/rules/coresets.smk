# Coresets to give away, and coresets that others gave away.


rule coresets:
    input:
        PLAN.exports(),


for seeds in PLAN.chunks:

    rule:
        name:
            f"export_{chunk_name(seeds)}"
        input:
            train=pack("train"),
            coresets=each(PLAN.under(paths.CORESET), seeds),
            recipes=recipes_of_coreset(seeds),
        output:
            folders=[directory(folder) for folder in each(PLAN.under(paths.EXPORT), seeds)],
        log:
            log_of(f"{paths.EXPORT}/ids.csv", seeds),
        wildcard_constraints:
            form="[a-z]+(-[a-z]+)?",
        conda:
            "../../envs/dqv2.yaml"
        resources:
            **needs("export", seeds),
        params:
            options=lambda wildcards: PLAN.export_options(
                selection_of(wildcards), float(wildcards.keep), wildcards.form
            ),
        message:
            "export the coreset of {wildcards.dataset}: {wildcards.selection}, keep ratio {wildcards.keep}"
        script:
            "../scripts/export.py"


for selector in PLAN.published:

    rule:
        name:
            f"fetch_coreset_{selector}"
        output:
            ids=PLAN.under(paths.PUBLISHED).format(selector=selector),
        log:
            f"{PLAN.logs}/published/{selector}.log",
        localrule: True
        conda:
            "../../envs/dqv2.yaml"
        params:
            options=PLAN.fetch_coreset_options(selector),
        message:
            "fetch the published coreset {params.options[manifest]}"
        script:
            "../scripts/fetch_coreset.py"

    for seeds in PLAN.chunks:

        rule:
            name:
                f"published_{selector}_{chunk_name(seeds)}"
            input:
                train=pack("train"),
                ids=PLAN.under(paths.PUBLISHED).format(selector=selector),
            output:
                coresets=each(PLAN.under(paths.CORESET), seeds),
                costs=each(PLAN.under(paths.cost(paths.CORESET)), seeds),
            log:
                log_of(paths.CORESET, seeds),
            wildcard_constraints:
                selection=f"\\w+/{selector}",
            localrule: True
            conda:
                "../../envs/dqv2.yaml"
            params:
                options=lambda wildcards: PLAN.published_options(float(wildcards.keep)),
            message:
                "the published coreset of {wildcards.dataset}: {wildcards.selection}"
            script:
                "../scripts/published.py"

        workflow.ruleorder(f"published_{selector}_{chunk_name(seeds)}", f"sample_{chunk_name(seeds)}")
