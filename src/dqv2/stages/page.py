"""One static page of all figures, tables, claims and runs."""

from pathlib import Path

from dqv2.stages.base import Stage, Wildcards


class Page(Stage):
    """All figures, tables and claims of a run on one page, each number with the runs behind it."""

    title = "page"
    version = 8
    shows = ("html",)
    shows_images = True
    writes = {"html": "report/index.html"}

    def makes(self, plan, w):
        return bool(plan.tables())

    def reads(self, plan, w):
        return {
            "files": [file for section in self._sections(plan) for file in section["files"].values()],
            "claims": self._claims(plan).get("claims (CSV)", []),
            "text": plan.file("numbers", "csv"),
            "numbers": plan.file("numbers", "tex"),
        }

    def options(self, plan, w):
        from dqv2.paper.reported import read_claims

        claims = self._claims(plan)
        files = claims | {"numbers (LaTeX)": plan.file("numbers", "tex"), "configuration": plan.configuration}
        head = {"run": plan.config.run, "label": plan.config.label, "note": plan.run_note(), "files": files}
        return {"sections": self._sections(plan), "head": head, "claims": read_claims() if claims else []}

    @staticmethod
    def _claims(plan):
        """The files of the claims, where an experiment tests one."""
        from dqv2.stages import stage

        kinds = {"claims (CSV)": "csv", "claims (Markdown)": "md"} if stage("claims").makes(plan, Wildcards()) else {}
        return {what: plan.file("claims", kind) for what, kind in kinds.items()}

    @staticmethod
    def _sections(plan):
        """What the page shows, in the order of the targets: one entry an experiment, with its files. In a partial
        report an experiment without anything to show has no files, and says so."""
        from dqv2.paper.reported import reported_values
        from dqv2.stages import all_stages

        tables, found = plan.tables(), []
        for name in plan.config.targets:
            block, w = plan.config.experiments[name], Wildcards(experiment=name)
            drawn = [each for each in all_stages().values() if "png" in each.shows and each.makes(plan, w)]
            there = plan.is_there(name)
            files = {kind.upper(): plan.file(each.name, kind, w) for each in drawn for kind in ("pdf", "png")}
            if block.table:
                kinds = {"CSV": "csv", "Markdown": "md", "LaTeX": "tex"}
                files |= {f"table ({kind})": plan.file("table", end, w) for kind, end in kinds.items()}
            if plan.tabled(name):
                files["runs (CSV)"] = plan.table(name)
            if block.cost:
                files["stages (CSV)"] = plan.file("cost", "csv", w)
            why = "no run has finished" if plan.kind(name, "runs") else "not made yet"
            found.append(
                {
                    "name": name,
                    "about": block.about,
                    "note": plan.note(name) + ("" if there else f" · PARTIAL: {why}"),
                    "planned": plan.planned(name),
                    "files": files if there else {},
                    "pictures": [plan.file(each.name, "png", w) for each in drawn] if there else [],
                    "table": tables.get(name) if there else None,
                    "printed": plan.file("table", "md", w) if there and block.table and not drawn else None,
                    "reported": reported_values(name),
                }
            )
        return found

    def run(self, job):
        from dqv2.paper.collect import device_note, read_csv, read_plain, write_text
        from dqv2.paper.page import build_page
        from dqv2.runtime.record import behind, summary

        jobs = behind(job.inputs)
        experiments = []
        for section in job.options["sections"]:
            frame = read_csv(section["table"]) if section["table"] else None
            note = section["note"] if frame is None else device_note(section["note"], frame, section["planned"])
            experiments.append({**section, "frame": frame, "note": note})
        html = build_page(
            Path(job.output.html),
            head=job.options["head"],
            experiments=experiments,
            claims=job.options["claims"],
            verdicts=read_plain(job.input.claims) if job.input.claims else None,
            text=read_plain(job.input.text),
            made={"jobs": len(jobs), "summary": summary(jobs)},
        )
        write_text(html, job.output.html)
