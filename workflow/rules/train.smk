# The coreset to an accuracy. The test split goes to the evaluation of the last weights, and nowhere else.


def recipes_of_coreset(seeds):
    return lambda wildcards: each(PLAN.recipes_of(selection_of(wildcards)), seeds)


for seeds in PLAN.chunks:

    rule:
        name:
            f"train_{chunk_name(seeds)}"
        input:
            train=pack("train"),
            validation=pack("validation"),
            test=pack("test"),
            coresets=each(PLAN.under(paths.CORESET), seeds),
            recipes=recipes_of_coreset(seeds),
        output:
            metrics=each(PLAN.under(paths.METRICS), seeds),
        log:
            log_of(paths.METRICS, seeds),
        benchmark:
            benchmark_of(paths.METRICS, seeds)
        params:
            options=lambda wildcards: PLAN.train_options(wildcards.dataset, wildcards.trainer),
            root=PLAN.root,
        threads: PLAN.config.threads
        resources:
            gpu=1,
        conda:
            "../../envs/dqv2.yaml"
        message:
            "train {wildcards.trainer} on {wildcards.dataset}: {wildcards.selection}, keep ratio {wildcards.keep}"
        script:
            "../scripts/train.py"
