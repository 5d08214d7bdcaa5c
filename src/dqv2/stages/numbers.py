"""One LaTeX macro per number, and the numbers in the paper's text beside ours."""

from dqv2.stages.base import Stage, Wildcards


class Numbers(Stage):
    """Every number of the run as a LaTeX macro."""

    title = "numbers"
    version = 6
    shows = ("tex",)
    writes = {
        "tex": "{figures}/numbers.tex",
        "csv": "experiments/text/numbers.csv",
        "record": "numbers/record.json",
    }

    def makes(self, plan, w):
        return bool(plan.tables())

    def reads(self, plan, w):
        claims = plan.file("claims", "csv") if self._claims(plan) else []
        return {"tables": list(plan.readable().values()), "claims": claims}

    @staticmethod
    def _claims(plan):
        """The claims, where an experiment tests one."""
        from dqv2.paper.reported import read_claims
        from dqv2.stages import stage

        return read_claims() if stage("claims").makes(plan, Wildcards()) else []

    def options(self, plan, w):
        from dqv2.paper.reported import reported_text, reported_values

        return {
            "names": list(plan.readable()),
            "reported": {name: reported_values(name) for name in sorted(plan.config.targets) if reported_values(name)},
            "text": reported_text(),
            "claims": self._claims(plan),
            "note": plan.run_note(),
        }

    def run(self, job):
        from dqv2.paper.collect import read_csv, read_plain, write_csv, write_text
        from dqv2.paper.numbers import all_numbers, numbers_tex, text_numbers

        options = job.options
        tables = {name: read_csv(file) for name, file in zip(options["names"], job.input.tables, strict=True)}
        text = text_numbers(options["text"], tables)
        write_csv(text, job.output.csv)
        verdicts = read_plain(job.input.claims) if job.input.claims else None
        numbers = all_numbers(tables, options["reported"], text, options["claims"], verdicts)
        write_text(numbers_tex(numbers, options["note"]), job.output.tex)
