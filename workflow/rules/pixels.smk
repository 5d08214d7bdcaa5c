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


for seeds in PLAN.chunks:

    rule:
        name:
            f"pixels_{chunk_name(seeds)}"
        input:
            train=pack("train"),
            coresets=each(PLAN.under(paths.CORESET), seeds),
            recipes=recipes_of_coreset(seeds),
            models=importance_networks(seeds),
            autoencoder=lambda wildcards: PLAN.autoencoder_of(wildcards.dataset, wildcards.pixels),
        output:
            pixels=each(PLAN.under(paths.PIXELS), seeds),
            costs=each(PLAN.under(paths.cost(paths.PIXELS)), seeds),
        log:
            log_of(paths.PIXELS, seeds),
        benchmark:
            benchmark_of(paths.PIXELS, seeds)
        conda:
            "../../envs/dqv2.yaml"
        threads: threads("pixels")
        resources:
            **needs("pixels", seeds, model=True),
        params:
            options=lambda wildcards: PLAN.pixels_options(wildcards.pixels),
        message:
            "pixel step {wildcards.pixels} on {wildcards.dataset}: {wildcards.selection}, keep ratio {wildcards.keep}"
        script:
            "../scripts/pixels.py"
