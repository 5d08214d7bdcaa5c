# Coresets to give away, and coresets that others gave away.


rule coresets:
    input:
        PLAN.exports(),


for batch in batches("export"):

    rule:
        name:
            batch.name
        input:
            train=pack("train"),
            coresets=batch.each(paths.CORESET),
            recipes=batch.reads(lambda arm: PLAN.recipes_of(selection_of(arm)) if arm.form != "ids" else []),
            pixels=batch.reads(lambda arm: PLAN.pixels_of(arm.step)),
        output:
            folders=[directory(folder) for folder in batch.each(paths.EXPORT)],
        log:
            log_of(batch, f"{paths.EXPORT}/ids.csv"),
        wildcard_constraints:
            form="[a-z]+(-[a-z]+)?",
        conda:
            "../../envs/dqv2.yaml"
        resources:
            **needs("export", batch),
        params:
            options=lambda wildcards: PLAN.export_options(
                selection_of(wildcards), float(wildcards.keep), wildcards.form, wildcards.step
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

    for batch in batches("published"):

        rule:
            name:
                f"{batch.name}_{selector}"
            input:
                train=pack("train"),
                ids=PLAN.under(paths.PUBLISHED).format(selector=selector),
            output:
                coresets=batch.each(paths.CORESET),
                costs=batch.each(paths.cost(paths.CORESET)),
            log:
                log_of(batch, paths.CORESET),
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

        workflow.ruleorder(f"{batch.name}_{selector}", batch.name.replace("published", "sample"))
