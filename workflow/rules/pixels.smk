# DQ's pixel step on a coreset: an autoencoder, pre-trained here or published, redraws what matters least.


localrules:
    weights,


rule autoencoder:
    input:
        train=pack("train"),
    output:
        model=PLAN.under(paths.AUTOENCODER),
        cost=PLAN.under(paths.cost(paths.AUTOENCODER)),
    log:
        f"{PLAN.logs}/{{dataset}}/autoencoder/{{autoencoder}}.log",
    benchmark:
        PLAN.under("benchmarks/{dataset}/autoencoder/{autoencoder}.tsv")
    conda:
        "../../envs/dqv2.yaml"
    threads: threads("autoencoder")
    resources:
        **needs("autoencoder", model=True),
    params:
        options=lambda wildcards: PLAN.autoencoder_options(wildcards.dataset, wildcards.autoencoder),
    message:
        "pre-train the autoencoder {wildcards.autoencoder} on {wildcards.dataset}"
    script:
        "../scripts/autoencoder.py"


# Published weights are fetched where they are not there, and looked at before any job that needs them. The file itself
# is nobody's output, so that Snakemake never removes it.
rule weights:
    input:
        file=lambda wildcards: weights_if_there(wildcards.autoencoder),
    output:
        json=PLAN.under(paths.WEIGHTS),
    log:
        f"{PLAN.logs}/autoencoders/{{autoencoder}}.log",
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=lambda wildcards: PLAN.weights_options(wildcards.autoencoder),
    message:
        "look at the weights of {wildcards.autoencoder}"
    script:
        "../scripts/weights.py"


for batch in batches("pixels"):

    rule:
        name:
            batch.name
        input:
            train=pack("train"),
            coresets=batch.each(paths.CORESET),
            recipes=batch.reads(lambda arm: PLAN.recipes_of(selection_of(arm))),
            models=batch.reads(lambda arm: PLAN.importance_of(arm.pixels)),
            autoencoder=lambda wildcards: PLAN.autoencoder_of(wildcards.dataset, wildcards.pixels),
        output:
            pixels=batch.each(paths.PIXELS),
            costs=batch.each(paths.cost(paths.PIXELS)),
        log:
            log_of(batch, paths.PIXELS),
        benchmark:
            benchmark_of(batch, paths.PIXELS)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("pixels")
        resources:
            **needs("pixels", batch, model=True),
        params:
            options=lambda wildcards: PLAN.pixels_options(wildcards.pixels),
        message:
            "pixel step {wildcards.pixels} on {wildcards.dataset}: {wildcards.selection}, keep ratio {wildcards.keep}"
        script:
            "../scripts/pixels.py"
