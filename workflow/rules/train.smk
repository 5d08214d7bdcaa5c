# The coreset to weights, and the weights to an accuracy. Training is given the training split and nothing else; the
# held-out splits go to the evaluation of the last weights.


for seeds in PLAN.chunks:

    rule:
        name:
            f"train_{chunk_name(seeds)}"
        input:
            train=pack("train"),
            splits=PLAN.under(paths.SPLITS),
            coresets=each(PLAN.under(paths.CORESET), seeds),
            recipes=recipes_of_coreset(seeds),
            pixels=pixels_of_training(seeds),
            fresh=recipes_of_trainer(seeds),
        output:
            models=each(PLAN.under(paths.MODEL), seeds),
            trainings=each(PLAN.under(paths.TRAINING), seeds),
            costs=each(PLAN.under(paths.cost(paths.MODEL)), seeds),
        log:
            log_of(paths.MODEL, seeds),
        benchmark:
            benchmark_of(paths.MODEL, seeds)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("train")
        resources:
            **needs("train", seeds, model=True),
        params:
            options=lambda wildcards: PLAN.train_options(wildcards.dataset, wildcards.trainer),
        message:
            "train {wildcards.step}{wildcards.trainer} on {wildcards.dataset}: {wildcards.selection}, keep ratio {wildcards.keep}"
        script:
            "../scripts/train.py"

    rule:
        name:
            f"evaluate_{chunk_name(seeds)}"
        input:
            models=each(PLAN.under(paths.MODEL), seeds),
            trainings=each(PLAN.under(paths.TRAINING), seeds),
            validation=pack("validation"),
            test=pack("test"),
        output:
            metrics=each(PLAN.under(paths.METRICS), seeds),
        log:
            log_of(paths.EVALUATION, seeds),
        benchmark:
            benchmark_of(paths.EVALUATION, seeds)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("evaluate")
        resources:
            **needs("evaluate", seeds, model=True),
        params:
            options=PLAN.options("evaluate"),
        message:
            "evaluate {wildcards.step}{wildcards.trainer} on {wildcards.dataset}: {wildcards.selection}, keep ratio {wildcards.keep}"
        script:
            "../scripts/evaluate.py"
