"""DQ_V2: from images to the paper's figures. Configuration -> plan -> rules; see docs/design.md."""

from snakemake.utils import min_version

min_version("9.0")

# The folder of this file, not of one that uses it as a module
HERE = workflow.current_basedir.get_path_or_uri(secret_free=True)


configfile: f"{HERE}/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/select.smk"
include: "workflow/rules/pixels.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/coresets.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/report.smk"


onstart:
    before_the_first_job()


onsuccess:
    WARM.stop()


onerror:
    WARM.stop()


rule all:
    default_target: True
    input:
        PLAN.targets(),
        PLAN.records_of(PLAN.targets()),


require_rules()
