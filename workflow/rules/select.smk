# Early training, saliency, scores, Tobias images, bins and coresets. A job does the seeds of its chunk (config: seeds_per_job).


for batch in batches("early_train"):

    rule:
        name:
            batch.name
        input:
            train=pack("train"),
        output:
            models=batch.each(paths.EARLY),
            costs=batch.each(paths.cost(paths.EARLY)),
        log:
            log_of(batch, paths.EARLY),
        benchmark:
            benchmark_of(batch, paths.EARLY)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("early_train")
        resources:
            **needs("early_train", batch, model=True),
        params:
            options=lambda wildcards: PLAN.early_train_options(wildcards.dataset, wildcards.backbone),
        message:
            "early-train {wildcards.backbone} on {wildcards.dataset}"
        script:
            "../scripts/early_train.py"


for batch in batches("saliency"):

    rule:
        name:
            batch.name
        input:
            train=pack("train", batch),
            models=batch.each(paths.EARLY),
        output:
            saliency=batch.each(paths.SALIENCY),
            embedding=batch.each(paths.EMBEDDING),
            logits=batch.each(paths.LOGITS),
            costs=batch.each(paths.cost(paths.LOGITS)),
        log:
            log_of(batch, paths.SALIENCY),
        benchmark:
            benchmark_of(batch, paths.SALIENCY)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("saliency")
        resources:
            **needs("saliency", batch, model=True),
        params:
            options=batch.options,
        message:
            batch.message("saliency and features of {wildcards.dataset} by {wildcards.backbone}")
        script:
            "../scripts/saliency.py"


for batch in batches("score"):

    rule:
        name:
            batch.name
        input:
            train=pack("train"),
        output:
            scores=batch.each(paths.SCORES),
            costs=batch.each(paths.cost(paths.SCORES)),
        log:
            log_of(batch, paths.SCORES),
        benchmark:
            benchmark_of(batch, paths.SCORES)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("score")
        resources:
            **needs("score", batch, model=True),
        params:
            options=lambda wildcards: PLAN.score_options(wildcards.dataset, wildcards.backbone),
        message:
            "scores of {wildcards.dataset} by early trainings of {wildcards.backbone}"
        script:
            "../scripts/score.py"


for batch in batches("augment"):

    rule:
        name:
            batch.name
        input:
            train=pack("train", batch),
            saliency=batch.reads(lambda arm: PLAN.models_of_mask(arm.mask)),
        output:
            recipes=batch.each(paths.RECIPE),
            costs=batch.each(paths.cost(paths.RECIPE)),
        log:
            log_of(batch, paths.RECIPE),
        benchmark:
            benchmark_of(batch, paths.RECIPE)
        conda:
            "../../envs/dqv2.yaml"
        resources:
            **needs("augment", batch),
        params:
            options=batch.options,
        message:
            batch.message("Tobias images of {wildcards.dataset}: mask {wildcards.mask}, size {wildcards.size}")
        script:
            "../scripts/augment.py"


for batch in batches("features"):

    rule:
        name:
            batch.name
        input:
            train=pack("train", batch),
            recipes=batch.each(paths.RECIPE),
            models=batch.each(paths.EARLY),
        output:
            embedding=batch.each(paths.FEATURES),
            logits=batch.each(paths.FEATURE_LOGITS),
            costs=batch.each(paths.cost(paths.FEATURE_LOGITS)),
        log:
            log_of(batch, paths.FEATURES),
        benchmark:
            benchmark_of(batch, paths.FEATURES)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("features")
        resources:
            **needs("features", batch, model=True),
        params:
            options=batch.options,
        message:
            batch.message(
                "features of the Tobias images of {wildcards.dataset}: mask {wildcards.mask}, size {wildcards.size}"
            )
        script:
            "../scripts/features.py"


for batch in batches("bin"):

    rule:
        name:
            batch.name
        input:
            train=pack("train", batch),
            features=batch.reads(lambda arm: PLAN.features_of(selection_of(arm))),
            logits=batch.reads(lambda arm: PLAN.logits_of(selection_of(arm))),
            scores=batch.reads(lambda arm: PLAN.scores_of(selection_of(arm))),
            recipes=batch.reads(lambda arm: PLAN.pictures_of(selection_of(arm))),
        output:
            bins=batch.each(paths.BINS),
            costs=batch.each(paths.cost(paths.BINS)),
        log:
            log_of(batch, paths.BINS),
        benchmark:
            benchmark_of(batch, paths.BINS)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("bin")
        resources:
            **needs("bin", batch),
        params:
            options=batch.options,
        message:
            batch.message("bins of {wildcards.dataset}: {wildcards.selection}")
        script:
            "../scripts/bin.py"


for batch in batches("sample"):

    rule:
        name:
            batch.name
        input:
            train=pack("train", batch),
            bins=batch.each(paths.BINS),
        output:
            coresets=batch.each(paths.CORESET),
            costs=batch.each(paths.cost(paths.CORESET)),
        log:
            log_of(batch, paths.CORESET),
        benchmark:
            benchmark_of(batch, paths.CORESET)
        conda:
            "../../envs/dqv2.yaml"
        resources:
            **needs("sample", batch),
        params:
            options=batch.options,
        message:
            batch.message("coreset of {wildcards.dataset}: {wildcards.selection}, keep ratio {wildcards.keep}")
        script:
            "../scripts/sample.py"
