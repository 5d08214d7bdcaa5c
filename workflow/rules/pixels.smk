# DQ's pixel step on a coreset: an autoencoder, pre-trained here or published, redraws the least important patches.


rule autoencoder:
    input:
        train=reads("autoencoder", "train"),
    output:
        model=writes("autoencoder", "model"),
        record=writes("autoencoder", "record"),
    log:
        log_of("autoencoder"),
    conda:
        "../../envs/dqv2.yaml"
    threads: cores("autoencoder")
    resources:
        gpu=1,
        mem_mb=grows(16000),
        runtime=grows(720),
    params:
        options=options("autoencoder"),
    script:
        "../scripts/autoencoder.py"


# Published weights are fetched if missing, and checked before any job that needs them.
rule weights:
    input:
        file=reads("weights", "file"),
    output:
        json=writes("weights", "json"),
        record=writes("weights", "record"),
    log:
        log_of("weights"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("weights"),
    script:
        "../scripts/weights.py"


rule pixels:
    input:
        train=reads("pixels", "train"),
        coreset=reads("pixels", "coreset"),
        recipe=reads("pixels", "recipe"),
        model=reads("pixels", "model"),
        autoencoder=reads("pixels", "autoencoder"),
    output:
        pixels=writes("pixels", "pixels"),
        record=writes("pixels", "record"),
    log:
        log_of("pixels"),
    conda:
        "../../envs/dqv2.yaml"
    threads: cores("pixels")
    resources:
        gpu=1,
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        options=options("pixels"),
    script:
        "../scripts/pixels.py"


rule redrawn:
    input:
        train=reads("redrawn", "train"),
        model=reads("redrawn", "model"),
        importance=reads("redrawn", "importance"),
        autoencoder=reads("redrawn", "autoencoder"),
    output:
        embedding=writes("redrawn", "embedding"),
        logits=writes("redrawn", "logits"),
        record=writes("redrawn", "record"),
    log:
        log_of("redrawn"),
    conda:
        "../../envs/dqv2.yaml"
    threads: cores("redrawn")
    resources:
        gpu=1,
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        options=options("redrawn"),
    script:
        "../scripts/redrawn.py"
