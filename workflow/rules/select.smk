# Early training, saliency, scores, Tobias images, bins and coresets. A job does the seeds of its chunk (config: seeds_per_job).


for seeds in PLAN.chunks:

    rule:
        name:
            f"early_train_{chunk_name(seeds)}"
        input:
            train=pack("train"),
        output:
            models=each(PLAN.under(paths.EARLY), seeds),
            costs=each(PLAN.under(paths.cost(paths.EARLY)), seeds),
        log:
            log_of(paths.EARLY, seeds),
        benchmark:
            benchmark_of(paths.EARLY, seeds)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("early_train")
        resources:
            **needs("early_train", seeds, model=True),
        params:
            options=lambda wildcards: PLAN.early_train_options(wildcards.dataset, wildcards.backbone),
        message:
            "early-train {wildcards.backbone} on {wildcards.dataset}"
        script:
            "../scripts/early_train.py"

    rule:
        name:
            f"saliency_{chunk_name(seeds)}"
        input:
            train=pack("train"),
            models=each(PLAN.under(paths.EARLY), seeds),
        output:
            saliency=each(PLAN.under(paths.SALIENCY), seeds),
            embedding=each(PLAN.under(paths.EMBEDDING), seeds),
            logits=each(PLAN.under(paths.LOGITS), seeds),
            costs=each(PLAN.under(paths.cost(paths.LOGITS)), seeds),
        log:
            log_of(paths.SALIENCY, seeds),
        benchmark:
            benchmark_of(paths.SALIENCY, seeds)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("saliency")
        resources:
            **needs("saliency", seeds, model=True),
        params:
            options=PLAN.options("saliency"),
        message:
            "saliency and features of {wildcards.dataset} by {wildcards.backbone}"
        script:
            "../scripts/saliency.py"

    rule:
        name:
            f"score_{chunk_name(seeds)}"
        input:
            train=pack("train"),
        output:
            scores=each(PLAN.under(paths.SCORES), seeds),
            costs=each(PLAN.under(paths.cost(paths.SCORES)), seeds),
        log:
            log_of(paths.SCORES, seeds),
        benchmark:
            benchmark_of(paths.SCORES, seeds)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("score")
        resources:
            **needs("score", seeds, model=True),
        params:
            options=lambda wildcards: PLAN.score_options(wildcards.dataset, wildcards.backbone),
        message:
            "scores of {wildcards.dataset} by early trainings of {wildcards.backbone}"
        script:
            "../scripts/score.py"

    rule:
        name:
            f"augment_{chunk_name(seeds)}"
        input:
            train=pack("train"),
            saliency=saliency_of_mask(seeds),
        output:
            recipes=each(PLAN.under(paths.RECIPE), seeds),
            costs=each(PLAN.under(paths.cost(paths.RECIPE)), seeds),
        log:
            log_of(paths.RECIPE, seeds),
        benchmark:
            benchmark_of(paths.RECIPE, seeds)
        conda:
            "../../envs/dqv2.yaml"
        resources:
            **needs("augment", seeds),
        params:
            options=lambda wildcards: PLAN.augment_options(wildcards.mask, int(wildcards.size)),
        message:
            "Tobias images of {wildcards.dataset}: mask {wildcards.mask}, size {wildcards.size}"
        script:
            "../scripts/augment.py"

    rule:
        name:
            f"features_{chunk_name(seeds)}"
        input:
            train=pack("train"),
            recipes=each(PLAN.under(paths.RECIPE), seeds),
            models=each(PLAN.under(paths.EARLY), seeds),
        output:
            embedding=each(PLAN.under(paths.FEATURES), seeds),
            logits=each(PLAN.under(paths.FEATURE_LOGITS), seeds),
            costs=each(PLAN.under(paths.cost(paths.FEATURE_LOGITS)), seeds),
        log:
            log_of(paths.FEATURES, seeds),
        benchmark:
            benchmark_of(paths.FEATURES, seeds)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("features")
        resources:
            **needs("features", seeds, model=True),
        params:
            options=PLAN.options("features"),
        message:
            "features of the Tobias images of {wildcards.dataset}: mask {wildcards.mask}, size {wildcards.size}"
        script:
            "../scripts/features.py"

    rule:
        name:
            f"bin_{chunk_name(seeds)}"
        input:
            train=pack("train"),
            features=features_of_pool(seeds),
            logits=logits_of_pool(seeds),
            scores=scores_of_pool(seeds),
            recipes=recipes_of_pool(seeds),
        output:
            bins=each(PLAN.under(paths.BINS), seeds),
            costs=each(PLAN.under(paths.cost(paths.BINS)), seeds),
        log:
            log_of(paths.BINS, seeds),
        benchmark:
            benchmark_of(paths.BINS, seeds)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("bin")
        resources:
            **needs("bin", seeds),
        params:
            options=lambda wildcards: PLAN.bin_options(selection_of(wildcards)),
        message:
            "bins of {wildcards.dataset}: {wildcards.selection}"
        script:
            "../scripts/bin.py"

    rule:
        name:
            f"sample_{chunk_name(seeds)}"
        input:
            train=pack("train"),
            bins=each(PLAN.under(paths.BINS), seeds),
        output:
            coresets=each(PLAN.under(paths.CORESET), seeds),
            costs=each(PLAN.under(paths.cost(paths.CORESET)), seeds),
        log:
            log_of(paths.CORESET, seeds),
        benchmark:
            benchmark_of(paths.CORESET, seeds)
        conda:
            "../../envs/dqv2.yaml"
        resources:
            **needs("sample", seeds),
        params:
            options=lambda wildcards: PLAN.sample_options(selection_of(wildcards), float(wildcards.keep)),
        message:
            "coreset of {wildcards.dataset}: {wildcards.selection}, keep ratio {wildcards.keep}"
        script:
            "../scripts/sample.py"
