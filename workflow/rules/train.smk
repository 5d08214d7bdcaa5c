# From a coreset to weights, and from weights to an accuracy. Training gets only the training split; only the evaluation
# of the last weights gets the held-out splits.


rule train:
    input:
        train=reads("train", "train"),
        splits=reads("train", "splits"),
        coreset=reads("train", "coreset"),
        recipe=reads("train", "recipe"),
        pixels=reads("train", "pixels"),
        fresh=reads("train", "fresh"),
        start=reads("train", "start"),
    output:
        model=writes("train", "model"),
        training=writes("train", "training"),
        record=writes("train", "record"),
    log:
        log_of("train"),
    conda:
        "../../envs/dqv2.yaml"
    threads: cores("train")
    resources:
        gpu=lambda wildcards: PLAN.config.trainers[wildcards.trainer].devices,
        mem_mb=grows(16000),
        runtime=grows(720),
    params:
        options=options("train"),
    script:
        "../scripts/train.py"


rule evaluate:
    input:
        model=reads("evaluate", "model"),
        training=reads("evaluate", "training"),
        validation=reads("evaluate", "validation"),
        test=reads("evaluate", "test"),
    output:
        metrics=writes("evaluate", "metrics"),
        record=writes("evaluate", "record"),
    log:
        log_of("evaluate"),
    conda:
        "../../envs/dqv2.yaml"
    threads: cores("evaluate")
    resources:
        gpu=1,
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        options=options("evaluate"),
    script:
        "../scripts/evaluate.py"
