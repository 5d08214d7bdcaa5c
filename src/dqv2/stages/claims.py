"""A verdict for each of the paper's claims."""

from dqv2.stages.base import Stage


class Claims(Stage):
    """The paper's claims, tested on this run's tables."""

    title = "claims"
    version = 11
    shows = ("csv", "md")
    writes = {"csv": "claims.csv", "md": "claims.md", "record": "claims/record.json"}

    def makes(self, plan, w):
        return bool(self._experiments() & set(plan.tables()))

    def reads(self, plan, w):
        return {"tables": list(self._tables(plan).values())}

    def options(self, plan, w):
        from dqv2.paper.reported import read_claims, reported_experiments, reported_values

        config = plan.config
        reported = {name: reported_values(name) for name in reported_experiments()}
        facts = {"names": list(self._tables(plan)), "claims": read_claims(), "reported": reported}
        return facts | {"scale": config.label or config.run, "note": plan.run_note()}

    @staticmethod
    def _experiments():
        """The experiments that claims are tested on, as they call them."""
        from dqv2.paper.reported import read_claims

        return {test["experiment"] for claim in read_claims() for test in claim["tests"]}

    def _tables(self, plan):
        """The tables to read that claims and the paper's text are held against, by the name that they call them."""
        from dqv2.paper.reported import reported_text

        tables = plan.readable()
        wanted = sorted(self._experiments()) + [entry["experiment"] for entry in reported_text()]
        found = {name: tables[name] for name in dict.fromkeys(wanted) if name in tables}
        costed = [name for name in tables if plan.config.experiments[name].cost]
        return found | {f"{name}_jobs": plan.file("cost", "csv", experiment=name) for name in costed}

    def run(self, job):
        from dqv2.paper.claims import judge
        from dqv2.paper.collect import read_csv
        from dqv2.paper.wording import write_claims

        options = job.options
        tables = {name: read_csv(file) for name, file in zip(options["names"], job.input.tables, strict=True)}
        rows = judge(options["claims"], tables, options["scale"], options["reported"])
        write_claims(options["claims"], rows, options["note"], job.output.csv, job.output.md)
