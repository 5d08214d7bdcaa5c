"""Checks before the first job, so that faults do not show only after hours: folders, weights, networks, drawings."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dqv2.config import ConfigError
from dqv2.config.data import Digits, Published
from dqv2.data import Pack, places
from dqv2.data.errors import DataError
from dqv2.data.published import KNOWN_SETS
from dqv2.plan.functions import faults_of_functions
from dqv2.plan.named import unknown_names
from dqv2.plan.plan import Plan
from dqv2.plan.verify import stale_behind
from dqv2.plan.walk import PlannedJob
from dqv2.runtime.compiler import why_not_compiled
from dqv2.runtime.files import read_json
from dqv2.runtime.sentences import counted
from dqv2.stages import stage
from dqv2.train.choices import SMALL
from dqv2.weights import noted, require_known, why_missing

if TYPE_CHECKING:
    from dqv2.data.sample import ImageSet


def require_fresh(plan: Plan, jobs: Iterable[PlannedJob]) -> None:
    """Raise ConfigError where these jobs, which are about to run, depend on stale results."""
    verify = f"`dqv2 verify {plan.root}` lists all, and --remove removes them; then run again"
    verify += "; to read them as they are: --rerun-triggers mtime input"
    _refuse(f"results that are read are stale ({verify}):", list(stale_behind(plan, jobs)))


def set_clocks(plan: Plan, jobs: Iterable[PlannedJob]) -> list[str]:
    """Set modification times in the future, left by a clock that ran ahead, to now, for the files that these jobs read.

    Snakemake refuses files older than their inputs. No result depends on times: checksums tell what has changed.

    Returns:
        The run's files whose time was set.

    Raises:
        ConfigError: a user's own file has a time in the future.
    """
    now, found, own = time.time(), [], []
    for file in sorted({file for job in jobs for file in plan.files_read(job)}):
        for place in filter(os.path.lexists, (file, f"{file}/.snakemake_timestamp")):
            if (ahead := os.lstat(place).st_mtime) <= now:
                continue
            if plan.job_making(file):
                os.utime(place, follow_symlinks=False)
                found.append(file)
            elif ahead > now + 1:  # a disk's clock in a network may be ahead by a little
                own.append(f"{file} is dated {datetime.fromtimestamp(ahead):%Y-%m-%d %H:%M}: touch {file}")
    _refuse("files are dated in the future:", own)
    return list(dict.fromkeys(found))


def check_jobs(plan: Plan, jobs: Iterable[PlannedJob], *, here: bool = True) -> None:
    """Check functions, files, networks and drawings for these jobs, which are about to run, on this machine if `here`.

    Raises:
        ConfigError: a function cannot be imported, an input is missing or is not a valid set of images, a network
            cannot be built, or a figure or table cannot be made; the message says where and what to do.
    """
    jobs = list(jobs)
    _refuse("functions cannot be imported:", faults_of_functions(plan, jobs))
    packed, trained = (sorted({job.w.dataset for job in jobs if job.stage.name == name}) for name in ("pack", "train"))
    _refuse("images are missing:", places.missing_folders(plan.config, sorted({*packed, *_read_again(plan, jobs)})))
    _refuse("labels are missing:", _without_labels(plan, jobs))
    listed, faults = _listed(plan, packed)
    _refuse("images cannot be used as they are:", faults)
    _refuse("published lists cannot be used:", _bad_lists(plan, jobs, packed, listed))
    sizes = {name: {split: len(samples) for split, samples in found.splits.items()} for name, found in listed.items()}
    classes = {name: found.classes for name, found in listed.items()}
    for name in set(trained) - set(packed):  # a pack says so itself
        sizes[name] = read_json(plan.file("pack", "splits", dataset=name))
        meta = read_json(Path(plan.file("pack", "train", dataset=name), "meta.json"))
        classes[name] = meta.get("classes", []) if isinstance(meta, dict) else []
    _refuse("images are missing:", places.without_test(plan.config, {name: sizes.get(name) for name in trained}))
    _refuse("classes are missing:", _of_one_class(plan, trained, classes))
    digits = {name: block for name, block in plan.config.datasets.items() if isinstance(block, Digits)}
    sizes = {name: {"train": block.train} for name, block in digits.items()} | sizes
    faults = [*_too_few_to_divide(plan, jobs, sizes), *_too_few_to_draw(plan, jobs, sizes)]
    _refuse("there are too few images:", faults)
    _refuse("weights are missing:", _missing_weights(plan, jobs))
    _check_networks(plan, jobs, here)
    _refuse("weights cannot be used:", _bad_weights(plan, jobs))
    drawings = [(job.stage.name, job.w.experiment) for job in jobs if job.stage.name in ("figure", "table")]
    _refuse("figures or tables cannot be drawn:", faults_of_drawings(plan, drawings))
    if any(job.stage.name == "numbers" for job in jobs):
        _refuse("numbers cannot be named:", faults_of_numbers(plan))


def _refuse(head: str, faults: Sequence[str]) -> None:
    if faults:
        raise ConfigError("\n  ".join([head, *faults]))


def _listed(plan: Plan, datasets: Iterable[str]) -> tuple[dict[str, ImageSet], list[str]]:
    """For users' own sets that will be packed: their images, and a sentence for each set that is refused.

    Names and labels are read as packing reads them; no image is opened.
    """
    from dqv2.data.dataset import list_set

    listed, faults = {}, []
    for name in datasets:
        if plan.config.datasets[name].kind in ("image_folder", "table"):
            try:
                listed[name] = list_set(**places.pack_block(plan.config, name))
            except DataError as error:
                faults.append(f"datasets.{name}: {error}")
    return listed, faults


def _read_again(plan: Plan, jobs: Iterable[PlannedJob]) -> Iterator[str]:
    """The datasets whose own files these jobs read, though they are packed: to export originals, or, of a streamed set,
    for every network."""
    for job in jobs:
        if not (block := plan.config.datasets.get(getattr(job.w, "dataset", None))):
            continue
        streamed = job.stage.model and getattr(block, "storage", None) == "streamed"
        originals = job.stage.name == "export" and not job.w.step and job.w.form.split("-")[0] in ("links", "copies")
        known = KNOWN_SETS.get(block.kind)
        if streamed or (originals and (known is None or known.streams)):
            yield job.w.dataset


def _bad_lists(
    plan: Plan, jobs: Iterable[PlannedJob], packed: Collection[str], listed: Mapping[str, ImageSet]
) -> list[str]:
    """One sentence for each published list of ids that is missing, is another one than published, or does not fit the
    images that it is used for. Lists at an address are checked once they are downloaded.

    packed: the sets that will be packed; listed: the images of those that are users' own."""
    fetched, uses = set(), defaultdict(set)
    for job in jobs:
        if job.stage.name == "fetch_coreset":
            fetched.add(job.w.selector)
        elif job.stage.name == "sample" and plan.config.selectors[plan.selection(job.w).selector].kind == "published":
            uses[plan.selection(job.w).selector].add((job.w.dataset, float(job.w.keep)))
    if not (names := sorted(fetched | uses.keys())):
        return []
    from dqv2.select.published import list_on_disk, published_coreset  # with torch

    found = []
    for name in names:
        block = plan.config.selectors[name]
        try:
            here = Path(plan.file("fetch_coreset", "ids", selector=name))
            file = list_on_disk(block.manifest, block.sha256) if name in fetched else here
            for dataset, keep in sorted(uses[name]) if file else ():
                if dataset in listed or dataset not in packed:
                    images = plan.config.datasets[dataset]
                    # Packing may leave out some of the images that are listed
                    skips = dataset in listed and "skip" in (images.on_bad, images.on_duplicate)
                    published_coreset(file, _pack(plan, dataset, listed), keep=None if skips else keep)
        except DataError as error:
            found.append(f"selectors.{name}: {error}")
    return found


def _pack(plan: Plan, dataset: str, listed: Mapping[str, ImageSet]) -> Pack:
    """The pack of a set's training images, of a listed set as it will be: without the images."""
    folder = Path(plan.file("pack", "train", dataset=dataset))
    if dataset not in listed:
        return Pack.open(folder)
    images = listed[dataset]
    ids, labels = [s.id for s in images.splits["train"]], [s.label for s in images.splits["train"]]
    return Pack(folder, None, np.array(labels), ids, images.classes, None, {"files": images.streams})


def _of_one_class(plan: Plan, trained: Iterable[str], classes: Mapping[str, list[str]]) -> list[str]:
    """One sentence for each set with a single class that would be trained on: by its files, its pack or its key."""
    found = []
    for name in trained:
        chosen = getattr(plan.config.datasets[name], "classes", None)
        known = classes.get(name) or (chosen if isinstance(chosen, list) else [])
        if len(known) == 1 or chosen == 1:
            remedy = f"choose more with datasets.{name}.classes" if chosen else "add images of other classes"
            found.append(
                f"datasets.{name}: all training images are of one class{''.join(f', {each!r}' for each in known)}, and "
                f"training needs at least two: {remedy}, or make only coresets (snakemake --cores all coresets)"
            )
    return found


def _too_few_to_divide(plan: Plan, jobs: Iterable[PlannedJob], sizes: Mapping[str, Any]) -> list[str]:
    """One sentence for each selector that would divide one of the listed sets into more bins than it has images, and
    for each mixture that would take none of its images, or Tobias images of a single one."""
    found = set()
    for job in jobs:
        if job.stage.name != "bin" or not (count := (sizes.get(job.w.dataset) or {}).get("train")):
            continue
        selection, images = plan.selection(job.w), f"training image{'s' * (count != 1)} of datasets.{job.w.dataset}"
        selector, mixture = plan.config.selectors[selection.selector], plan.config.mixtures[selection.mixture]
        if (asked := selector.used.get("n_bins", 0)) > count:
            found.add(f"selectors.{selection.selector}.n_bins = {asked} is more than the {count} {images}: lower it")
        for kind in ("originals", "tobias"):
            if (share := getattr(mixture, kind)) and round(share * count) == 0:
                found.add(f"mixtures.{selection.mixture}.{kind} = {share:g} is none of the {count} {images}: raise it")
        if mixture.tobias and count == 1:
            found.add(
                f"mixtures.{selection.mixture}: a Tobias image needs two images, and there is 1 {images}: add some"
            )
    return sorted(found)


def _too_few_to_draw(plan: Plan, jobs: Iterable[PlannedJob], sizes: Mapping[str, Any]) -> list[str]:
    """One sentence for each coreset of a set of known size that would have more images than there are to choose from,
    or fewer than two to train on."""
    found: dict[str, None] = {}
    for job in jobs:
        if job.stage.name not in ("sample", "train") or not (count := (sizes.get(job.w.dataset) or {}).get("train")):
            continue
        selection = plan.selection(job.w)
        mixture, selector = plan.config.mixtures[selection.mixture], plan.config.selectors[selection.selector]
        if selector.declared.gives == "list":
            continue
        pool = sum(round(share * count) for share in (mixture.originals, mixture.tobias))
        kept = max(1, round(float(job.w.keep) * (count if mixture.budget == "originals" else pool)))
        left = pool - round(selector.used.get("prune_hardest", 0) * pool)
        asked = f"keep_ratio: {job.w.keep} of the {counted(count, 'training image')} of datasets.{job.w.dataset}"
        if kept > left:
            there = f"mixture {selection.mixture} and selector {selection.selector} leave {left:,}"
            found[f"{asked} is {counted(kept, 'image')}, and {there}, as shares are rounded: lower it"] = None
        if kept < 2 and job.stage.name == "train":
            found[f"{asked} is 1 image, too few to train on: raise it"] = None
    return sorted(found)


def _check_networks(plan: Plan, jobs: Sequence[PlannedJob], here: bool) -> None:
    """Build the networks of the jobs and run them on images; raises ValueError where one fails, or cannot be compiled
    here."""
    built = {place: options for job in jobs for place, options in job.stage.builds(plan, job.w).items()}
    mapped: dict[str, str] = {}
    for job in jobs:
        for file, use in job.stage.maps(plan, job.w).items():
            network = plan.job_making(file)
            places = network.stage.builds(plan, network.w)
            built |= places
            mapped |= {place: min(use, mapped.get(place, use)) for place in places}  # importance asks for more
    if asked := {place: options for place, options in built.items() if _may_fail(options)}:
        from dqv2.train.trial import check_networks  # with torch

        check_networks(asked, mapped)
    if here and (compiled := sorted(place for place, options in built.items() if options.get("compile"))):
        import torch

        why = why_not_compiled("cuda" if torch.cuda.is_available() else "cpu")
        _refuse("networks cannot be compiled:", [f"{place}: {why}." for place in compiled if why])


def _without_labels(plan: Plan, jobs: Iterable[PlannedJob]) -> list[str]:
    """One sentence for each dataset without labels that jobs would train on, or compute gradients for."""
    found = {}
    for job in jobs:
        name = getattr(job.w, "dataset", None)
        if name is None or not getattr(plan.config.datasets[name], "unlabelled", False):
            continue
        if job.stage.name == "early_train" and plan.config.backbones[job.w.backbone].epochs:
            found.setdefault(name, f"backbone {job.w.backbone} trains on classes")
        elif job.stage.name in ("train", "score"):
            found.setdefault(name, f"{job.stage.title} needs classes")
        elif job.stage.name == "bin" and plan.config.selectors[plan.selection(job.w).selector].reads_logits:
            found.setdefault(name, f"selector {plan.selection(job.w).selector} reads gradients of the classes")
    return [
        f"datasets.{name}.unlabelled = true, and {why}: make only coresets (snakemake --cores all coresets), with a "
        "method that needs no labels: random, gc or dq_no_pixel (pre-trained network), dq_v2_untrained (random one)."
        for name, why in sorted(found.items())
    ]


def _may_fail(options: dict[str, Any]) -> bool:
    """Whether a network may be impossible to build or run; our own fail where a stride of 8 leaves a single point."""
    return options["model"] not in SMALL or (options["input_size"] or options["image_size"]) <= 8


def _missing_weights(plan: Plan, jobs: Iterable[PlannedJob]) -> list[str]:
    """One sentence for each network whose published weights jobs need, are missing and cannot be fetched."""
    found = []
    for kind, name in sorted({each for job in jobs for each in job.stage.published(plan, job.w)}):
        block = getattr(plan.config, kind)[name]
        if missing := why_missing(block.place, block.url):
            own = ", or set weights: self to pre-train one on the set itself" if kind == "autoencoders" else ""
            found.append(f"{kind}.{name}.weights = {block.weights!r}: {missing}{own}.")
    return found


def _bad_weights(plan: Plan, jobs: Sequence[PlannedJob]) -> list[str]:
    """One sentence for each weights file that is invalid, and for each that timm's hub does not have."""
    found, looked_at = [], [(job.w.block, job.w.network) for job in jobs if job.stage.name == "weights"]
    for kind, name in sorted({each for job in jobs for each in job.stage.published(plan, job.w)}):
        block, note = getattr(plan.config, kind)[name], plan.file("weights", "json", block=kind, network=name)
        try:
            if (kind, name) not in looked_at:
                if Path(note).exists():
                    noted(note)
            elif block.place.path and block.place.path.exists():
                stage("weights").look(block, kind, block.place.path)
            elif block.place.hub and not block.url:
                require_known(block.place)
        except ValueError as error:
            found.append(f"{kind}.{name}.weights: {error}")
    return found


def changed_folders(plan: Plan) -> list[str]:
    """One sentence for each folder of a dataset whose files have changed since it was packed, or that is gone where
    links of an exported coreset lead."""
    packs = {}
    for name in plan.datasets:
        file = plan.file("pack", "options", dataset=name)
        # A pack with other options is made again anyway
        if read_json(file) == plan.options(plan.job_making(file)):
            packs[name] = file
    return places.changed_folders(plan.config, packs) + _lost_links(plan, packs)


def _lost_links(plan: Plan, datasets: Iterable[str]) -> list[str]:
    """One sentence for each of `datasets` whose folder is gone and has been the target of an exported coreset's
    links."""
    roots = {name: places.folder_of(plan.config, name) for name in datasets}
    gone = {name: root for name, root in roots.items() if root and not Path(root).expanduser().exists()}
    found = {}
    for file in plan.exports() if gone else ():
        name = plan.job_making(file).w.dataset
        if name in gone and any(link.is_symlink() for link in Path(file).glob("images/*/*")):
            found[name] = (
                f"datasets.{name}: {gone[name]} is gone, and the images of {file} are links into it: put it back"
            )
            if not isinstance(plan.config.datasets[name], Published):
                found[name] += ", or set path to where it is now"
    return list(found.values())


def faults_of_drawings(plan: Plan, drawings: Sequence[tuple[str, str]]) -> list[str]:
    """One sentence for each drawing, ("figure" or "table", experiment), that cannot be made from its future table.

    The checks are those of figures and tables, on a table with made-up measurements, and of the names that they are
    given (`unknown_names`). If a drawing selects or arranges rows by a measurement, only its column names are checked.
    Partial drawings are not checked.
    """
    if plan.config.partial or not drawings:
        return []
    from dqv2.paper.figures import arrange
    from dqv2.paper.stats import require_columns
    from dqv2.paper.tables import filled, results_table

    found = []
    for kind, name in sorted(drawings):
        frame, measured = plan.planned_table(name)
        spec = plan.spec(kind, name)
        used = _columns_of(spec)
        try:
            if measured & set(used):
                require_columns(frame, [*used, spec["y"], *spec.get("beside", [])])
                continue
            if kind == "figure":
                frame, *_, spec = arrange(frame, spec)
            else:
                results_table(frame, spec)
                spec = filled(frame, spec)
            found += [f"experiments.{name}.{kind}.{fault}" for fault in unknown_names(plan.config, spec, frame)]
        except (ValueError, KeyError, TypeError) as error:
            found.append(f"experiments.{name}.{kind}: {error}")
    return found


def faults_of_numbers(plan: Plan) -> list[str]:
    """A sentence where two arms of the planned tables would have one LaTeX macro, as those of `fig4a` and `fig_4a`."""
    import pandas as pd

    from dqv2.paper.numbers import all_numbers

    try:
        all_numbers({name: plan.planned_table(name)[0] for name in plan.readable()}, {}, pd.DataFrame(), [], None)
    except ValueError as error:
        return [f"{error}: rename one of the two"]
    return []


def _columns_of(spec: dict[str, Any]) -> list[str]:
    """The columns by which a drawing selects and arranges rows."""
    axes = [spec.get(key) for key in ("x", "hue", "panel", "row", "column")]
    picked = [*spec.get("where", {}), *(key for entry in spec.get("reference", []) for key in entry if key != "label")]
    return [name for name in (*axes, *picked) if name]
