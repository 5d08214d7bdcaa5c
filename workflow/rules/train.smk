# The coreset to an accuracy. The test split goes to the evaluation of the last weights, and nowhere else.


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
            fresh=recipes_of_trainer(seeds),
        output:
            metrics=each(PLAN.under(paths.METRICS), seeds),
        log:
            log_of(paths.METRICS, seeds),
        benchmark:
            benchmark_of(paths.METRICS, seeds)
        conda:
            "../../envs/dqv2.yaml"
        threads: PLAN.config.threads
        resources:
            **needs("train", seeds, model=True),
        params:
            options=lambda wildcards: PLAN.train_options(wildcards.dataset, wildcards.trainer),
        message:
            "train {wildcards.trainer} on {wildcards.dataset}: {wildcards.selection}, keep ratio {wildcards.keep}"
        script:
            "../scripts/train.py"
