# The coreset to weights, and the weights to an accuracy. Training is given the training split and nothing else; the
# held-out splits go to the evaluation of the last weights.


for batch in batches("train"):

    rule:
        name:
            batch.name
        input:
            train=pack("train", batch),
            splits=batch.one(paths.SPLITS),
            coresets=batch.each(paths.CORESET),
            recipes=batch.reads(lambda arm: PLAN.recipes_of(selection_of(arm))),
            pixels=batch.reads(lambda arm: PLAN.pixels_of(arm.step)),
            fresh=batch.reads(lambda arm: PLAN.fresh_of(arm.trainer)),
        output:
            models=batch.each(paths.MODEL),
            trainings=batch.each(paths.TRAINING),
            costs=batch.each(paths.cost(paths.MODEL)),
        log:
            log_of(batch, paths.MODEL),
        benchmark:
            benchmark_of(batch, paths.MODEL)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("train")
        resources:
            **needs("train", batch, model=True),
        params:
            options=batch.options,
        message:
            batch.message(
                "train {wildcards.step}{wildcards.trainer} on {wildcards.dataset}: {wildcards.selection}, keep ratio {wildcards.keep}"
            )
        script:
            "../scripts/train.py"


for batch in batches("evaluate"):

    rule:
        name:
            batch.name
        input:
            models=batch.each(paths.MODEL),
            trainings=batch.each(paths.TRAINING),
            validation=pack("validation", batch),
            test=pack("test", batch),
        output:
            metrics=batch.each(paths.METRICS),
        log:
            log_of(batch, paths.EVALUATION),
        benchmark:
            benchmark_of(batch, paths.EVALUATION)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("evaluate")
        resources:
            **needs("evaluate", batch, model=True),
        params:
            options=batch.options,
        message:
            batch.message(
                "evaluate {wildcards.step}{wildcards.trainer} on {wildcards.dataset}: {wildcards.selection}, keep ratio {wildcards.keep}"
            )
        script:
            "../scripts/evaluate.py"
