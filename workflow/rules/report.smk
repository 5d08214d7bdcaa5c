# What is made of several experiments together, from their tables: claims, numbers, costs, the page; and the pipelines' diagram.

from dqv2.paper.reported import read_claims, reported_text, reported_values
from dqv2.plan import report as together
from dqv2.plan.partial import page_sections, present_targets, readable
from dqv2.plan.pipeline import pipelines

SECTIONS = page_sections(PLAN)


localrules:
    diagram,
    mask_iou,
    cost,
    claims,
    numbers,
    page,


rule diagram:
    output:
        pdf=report(
            f"{PLAN.figures}/{{experiment}}.pdf",
            caption="../report/diagram.rst",
            category="figures",
        ),
        png=f"{PLAN.figures}/{{experiment}}.png",
    log:
        f"{PLAN.logs}/figures/{{experiment}}.log",
    wildcard_constraints:
        experiment=constrained(together.diagrams(PLAN)),
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=PLAN.options("diagram"),
        lanes=lambda wildcards: pipelines(PLAN, wildcards.experiment),
        label=PLAN.config.label,
        note=lambda wildcards: PLAN.note(wildcards.experiment),
    message:
        "diagram {wildcards.experiment}"
    script:
        "../scripts/diagram.py"


rule mask_iou:
    input:
        recipes=[entry["file"] for entry in together.mask_recipes(PLAN)],
    output:
        csv=PLAN.under(f"experiments/masks/{together.MASK_IOU}.csv"),
    log:
        f"{PLAN.logs}/experiments/{together.MASK_IOU}.log",
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=PLAN.options("mask_iou"),
        recipes=together.mask_recipes(PLAN),
    message:
        "masks against the true ones"
    script:
        "../scripts/mask_iou.py"


rule cost:
    input:
        csv=PLAN.under("experiments/{experiment}.csv"),
        costs=lambda wildcards: present(
            file for job in together.stage_jobs(PLAN, wildcards.experiment) for file in job["costs"]
        ),
    output:
        csv=report(
            PLAN.under("experiments/costs/{experiment}.csv"),
            caption="../report/figure.rst",
            category="tables",
        ),
        pdf=report(
            f"{PLAN.figures}/{{experiment}}.pdf",
            caption="../report/figure.rst",
            category="figures",
        ),
        png=f"{PLAN.figures}/{{experiment}}.png",
        caption=PLAN.under("captions/{experiment}_cost.rst"),
    log:
        f"{PLAN.logs}/figures/{{experiment}}.log",
    wildcard_constraints:
        experiment=constrained(together.costed(PLAN)),
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=PLAN.options("cost", partial=PLAN.config.partial),
        about=lambda wildcards: PLAN.config.experiments[wildcards.experiment].about,
        jobs=lambda wildcards: together.stage_jobs(PLAN, wildcards.experiment),
        label=PLAN.config.label,
        note=lambda wildcards: PLAN.note(wildcards.experiment),
        planned=lambda wildcards: len(PLAN.rows[wildcards.experiment]),
    message:
        "cost {wildcards.experiment}"
    script:
        "../scripts/cost.py"


rule claims:
    input:
        tables=list(readable(PLAN, together.claim_tables(PLAN)).values()),
    output:
        csv=report(PLAN.under("claims.csv"), caption="../report/claims.rst", category="claims"),
        md=report(PLAN.under("claims.md"), caption="../report/claims.rst", category="claims"),
    log:
        f"{PLAN.logs}/claims.log",
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=PLAN.options("claims"),
        names=list(readable(PLAN, together.claim_tables(PLAN))),
        claims=read_claims(),
        scale=PLAN.config.label or PLAN.config.run,
        note=PLAN.run_note(),
    message:
        "claims of {PLAN.config.run}"
    script:
        "../scripts/claims.py"


rule numbers:
    input:
        tables=list(readable(PLAN, together.tables_of(PLAN)).values()),
        claims=PLAN.under("claims.csv"),
    output:
        tex=report(f"{PLAN.figures}/numbers.tex", caption="../report/claims.rst", category="tables"),
        csv=PLAN.under("experiments/text/numbers.csv"),
    log:
        f"{PLAN.logs}/numbers.log",
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=PLAN.options("numbers"),
        names=list(readable(PLAN, together.tables_of(PLAN))),
        reported={name: reported_values(name) for name in sorted(PLAN.config.targets) if reported_values(name)},
        text=reported_text(),
        claims=read_claims(),
        note=PLAN.run_note(),
    message:
        "numbers of {PLAN.config.run}"
    script:
        "../scripts/numbers.py"


rule page:
    input:
        files=[file for section in SECTIONS for file in section["files"].values()],
        claims=PLAN.under("claims.csv"),
        text=PLAN.under("experiments/text/numbers.csv"),
        numbers=f"{PLAN.figures}/numbers.tex",
    output:
        html=report(PLAN.under("report/index.html"), caption="../report/page.rst", category="page"),
    log:
        f"{PLAN.logs}/page.log",
    conda:
        "../../envs/dqv2.yaml"
    params:
        options=PLAN.options("page"),
        sections=SECTIONS,
        head={
            "run": PLAN.config.run,
            "label": PLAN.config.label,
            "note": PLAN.run_note(),
            "files": {
                "claims (CSV)": PLAN.under("claims.csv"),
                "claims (Markdown)": PLAN.under("claims.md"),
                "numbers (LaTeX)": f"{PLAN.figures}/numbers.tex",
            },
        },
        claims=read_claims(),
    message:
        "page of {PLAN.config.run}"
    script:
        "../scripts/page.py"
