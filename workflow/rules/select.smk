# Networks, saliency, scores, Tobias images, bins and coresets.


rule early_train:
    input:
        train=reads("early_train", "train"),
        weights=reads("early_train", "weights"),
    output:
        model=writes("early_train", "model"),
        record=writes("early_train", "record"),
    log:
        log_of("early_train"),
    conda:
        "../../envs/dqv2.yaml"
    threads: cores("early_train")
    resources:
        gpu=1,
        mem_mb=grows(24000),
        runtime=grows(240),
    params:
        options=options("early_train"),
    script:
        "../scripts/early_train.py"


rule saliency:
    input:
        train=reads("saliency", "train"),
        model=reads("saliency", "model"),
    output:
        saliency=writes("saliency", "saliency"),
        embedding=writes("saliency", "embedding"),
        logits=writes("saliency", "logits"),
        record=writes("saliency", "record"),
    log:
        log_of("saliency"),
    conda:
        "../../envs/dqv2.yaml"
    threads: cores("saliency")
    resources:
        gpu=1,
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        options=options("saliency"),
    script:
        "../scripts/saliency.py"


rule score:
    input:
        train=reads("score", "train"),
    output:
        scores=writes("score", "scores"),
        record=writes("score", "record"),
    log:
        log_of("score"),
    conda:
        "../../envs/dqv2.yaml"
    threads: cores("score")
    resources:
        gpu=1,
        mem_mb=grows(24000),
        runtime=grows(720),
    params:
        options=options("score"),
    script:
        "../scripts/score.py"


rule augment:
    input:
        train=reads("augment", "train"),
        saliency=reads("augment", "saliency"),
    output:
        recipe=writes("augment", "recipe"),
        record=writes("augment", "record"),
    log:
        log_of("augment"),
    conda:
        "../../envs/dqv2.yaml"
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        options=options("augment"),
    script:
        "../scripts/augment.py"


rule features:
    input:
        train=reads("features", "train"),
        recipe=reads("features", "recipe"),
        model=reads("features", "model"),
    output:
        embedding=writes("features", "embedding"),
        logits=writes("features", "logits"),
        record=writes("features", "record"),
    log:
        log_of("features"),
    conda:
        "../../envs/dqv2.yaml"
    threads: cores("features")
    resources:
        gpu=1,
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        options=options("features"),
    script:
        "../scripts/features.py"


rule bin:
    input:
        train=reads("bin", "train"),
        features=reads("bin", "features"),
        logits=reads("bin", "logits"),
        scores=reads("bin", "scores"),
        recipe=reads("bin", "recipe"),
    output:
        bins=writes("bin", "bins"),
        record=writes("bin", "record"),
    log:
        log_of("bin"),
    conda:
        "../../envs/dqv2.yaml"
    threads: cores("bin")
    resources:
        mem_mb=grows(24000),
        runtime=grows(240),
    params:
        options=options("bin"),
    script:
        "../scripts/bin.py"


rule sample:
    input:
        train=reads("sample", "train"),
        bins=reads("sample", "bins"),
        published=reads("sample", "published"),
        features=reads("sample", "features"),
        logits=reads("sample", "logits"),
    output:
        coreset=writes("sample", "coreset"),
        record=writes("sample", "record"),
    log:
        log_of("sample"),
    conda:
        "../../envs/dqv2.yaml"
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        options=options("sample"),
    script:
        "../scripts/sample.py"
