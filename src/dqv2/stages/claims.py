"""A verdict for each of the paper's claims."""

from dqv2.stages.base import Stage


class Claims(Stage):
    """The paper's claims, tested on this run's tables."""

    title = "claims"
    version = 4
    shows = ("csv", "md")
    writes = {"csv": "claims.csv", "md": "claims.md", "record": "claims/record.json"}

    def makes(self, plan, w):
        from dqv2.paper.reported import read_claims

        wanted = {test["experiment"] for claim in read_claims() for test in claim["tests"]}
        return bool(wanted & set(plan.tables()))

    def reads(self, plan, w):
        return {"tables": list(plan.readable(self._tables(plan)).values())}

    def options(self, plan, w):
        from dqv2.paper.reported import read_claims

        config = plan.config
        facts = {"names": list(plan.readable(self._tables(plan))), "claims": read_claims()}
        return facts | {"scale": config.label or config.run, "note": plan.run_note()}

    @staticmethod
    def _tables(plan):
        """The tables that claims and the paper's text are held against, by the name that they call them."""
        from dqv2.paper.reported import read_claims, reported_text

        tables = plan.tables()
        wanted = [test["experiment"] for claim in read_claims() for test in claim["tests"]]
        wanted += [entry["experiment"] for entry in reported_text()]
        found = {name: tables[name] for name in dict.fromkeys(wanted) if name in tables}
        costed = [name for name in plan.config.targets if plan.config.experiments[name].cost]
        return found | {f"{name}_jobs": plan.file("cost", "csv", experiment=name) for name in costed}

    def run(self, job):
        from dqv2.paper.claims import judge
        from dqv2.paper.collect import read_csv
        from dqv2.paper.wording import write_claims

        options = job.options
        tables = {name: read_csv(file) for name, file in zip(options["names"], job.input.tables, strict=True)}
        rows = judge(options["claims"], tables, options["scale"])
        write_claims(options["claims"], rows, options["note"], job.output.csv, job.output.md)
