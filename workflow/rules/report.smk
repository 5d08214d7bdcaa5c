# What is made from the tables of several experiments together: claims, numbers, the page.


rule claims:
    input:
        tables=reads("claims", "tables"),
    output:
        csv=report(
            writes("claims", "csv"),
            caption="../report/claims.rst",
            category="claims",
        ),
        md=report(
            writes("claims", "md"),
            caption="../report/claims.rst",
            category="claims",
        ),
        record=writes("claims", "record"),
    log:
        log_of("claims"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("claims"),
    script:
        "../scripts/claims.py"


rule numbers:
    input:
        tables=reads("numbers", "tables"),
        claims=reads("numbers", "claims"),
    output:
        tex=report(
            writes("numbers", "tex"),
            caption="../report/claims.rst",
            category="tables",
        ),
        csv=writes("numbers", "csv"),
        record=writes("numbers", "record"),
    log:
        log_of("numbers"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("numbers"),
    script:
        "../scripts/numbers.py"


rule page:
    input:
        files=reads("page", "files"),
        claims=reads("page", "claims"),
        text=reads("page", "text"),
        numbers=reads("page", "numbers"),
    output:
        html=report(
            writes("page", "html"),
            caption="../report/page.rst",
            category="page",
        ),
        record=writes("page", "record"),
    log:
        log_of("page"),
    localrule: True
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=options("page"),
    script:
        "../scripts/page.py"
