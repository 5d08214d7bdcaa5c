"""What each job has to do: images through networks, cells and pixels, similarities, bytes that it leaves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dqv2.plan.cost.rates import Facts, Net
from dqv2.plan.cost.sizes import Sizes
from dqv2.plan.graph import Job, job_of
from dqv2.plan.plan import Plan
from dqv2.plan.runs import Selection

__all__ = ["DISK", "MODEL_STAGES", "Work", "Works"]

# Stages whose rules ask for a device.
MODEL_STAGES = ("early_train", "saliency", "score", "features", "autoencoder", "pixels", "train", "evaluate")
# Stage -> what its bytes are, for the account of the disk.
DISK = {
    "pack": "packs",
    "early_train": "weights",
    "train": "weights",
    "autoencoder": "weights",
    "augment": "recipes",
    "saliency": "features",
    "features": "features",
    "score": "scores, bins, coresets",
    "bin": "scores, bins, coresets",
    "sample": "scores, bins, coresets",
    "pixels": "pixels of coresets",
}
ROW = 80  # bytes of a line in a table of ids, about


@dataclass
class Work:
    """What a job does for one seed (a pack: for all).

    Attributes:
        networks: (network, "train" or "forward", images).
        units: rate of `Host` -> how many of its units; "select KIND" for a selector.
        drawn: the same for what is done where the network is: a GPU's part in it is not counted.
        bytes: left on the disk.
        state: bytes of a training's checkpoint while it runs.
    """

    networks: list[tuple[Net, str, float]] = field(default_factory=list)
    units: dict[str, float] = field(default_factory=dict)
    drawn: dict[str, float] = field(default_factory=dict)
    bytes: float = 0.0
    state: float = 0.0


class Works:
    """The work of a plan's jobs.

    Args:
        plan: the plan.
        sizes: a dataset's sizes.
        facts: FLOPs and shapes of a network with so many classes.
    """

    def __init__(self, plan: Plan, sizes: Callable[[str], Sizes], facts: Callable[[Net, int], Facts]):
        self.plan, self.config, self.sizes, self.facts = plan, plan.config, sizes, facts

    def of(self, job: Job) -> Work:
        """The work of a job for one seed."""
        _, place = job_of(job.path)
        make = getattr(self, f"_{job.stage}", None)
        return make(place) if make else Work()

    def net(self, dataset: str, block: Any) -> Net:
        """The network of a trainer or backbone on a dataset, as it is trained."""
        images = self.config.datasets[dataset]
        args = tuple(sorted(block.args.items()))
        return Net(block.model, images.size, images.stem, args, block.input_size, block.precision, block.compile)

    def net_of_pass(self, dataset: str, backbone: Any) -> Net:
        """The same as it reads images for maps, features and scores: in float32, however it was trained."""
        return replace(self.net(dataset, backbone), precision="float32", compile=False)

    def net_of_evaluation(self, dataset: str, trainer: Any) -> Net:
        """The same as it is evaluated: in the precision of its training."""
        return replace(self.net(dataset, trainer), compile=False)

    def autoencoder(self, dataset: str, name: str) -> Net:
        """A masked autoencoder; of published weights the file's name says which size (large, where it does not)."""
        block = self.config.autoencoders[name]
        if block.weights == "self":
            args = (("grid", block.grid), ("hidden", block.mask_ratio))
            return Net(f"mae-{block.size}", self.config.datasets[dataset].size, args=args)
        size = next((size for size in ("base", "large", "huge") if size in block.weights.lower()), "large")
        return Net(f"mae-{size}", 224, args=(("grid", 14), ("hidden", 0.25)))

    # -- the stages ---------------------------------------------------------------------------------------------------

    def _pack(self, place: dict[str, str]) -> Work:
        block, n = self.config.datasets[place["dataset"]], self.sizes(place["dataset"])
        images = n.train + n.validation + n.test
        streamed = getattr(block, "storage", "packed") == "streamed"
        decoded = 0 if block.kind in ("digits", "cifar10") else images
        return Work(units={"decode": decoded}, bytes=images * ((0 if streamed else 3 * block.size**2) + ROW))

    def _early_train(self, place: dict[str, str]) -> Work:
        block, n = self.config.backbones[place["backbone"]], self.sizes(place["dataset"])
        net = self.net(place["dataset"], block)
        weights = self.facts(net, n.classes).weights
        trained = [(net, "train", block.epochs * n.train)] if block.epochs else []
        return Work(trained, bytes=weights, state=_state(weights, block) if trained else 0)

    def _saliency(self, place: dict[str, str]) -> Work:
        return self._passed(place, maps=True)

    def _features(self, place: dict[str, str]) -> Work:
        found = self._passed(place, maps=False)
        found.units["compose"] = self.sizes(place["dataset"]).train * self.config.datasets[place["dataset"]].size ** 2
        return found

    def _passed(self, place: dict[str, str], *, maps: bool) -> Work:
        """One pass of a backbone over the training images."""
        n = self.sizes(place["dataset"])
        net = self.net_of_pass(place["dataset"], self.config.backbones[place["backbone"]])
        facts = self.facts(net, n.classes)
        numbers = facts.embedding + n.classes + (facts.cells if maps else 0)
        return Work([(net, "forward", n.train)], bytes=4 * n.train * numbers)

    def _score(self, place: dict[str, str]) -> Work:
        block, n = self.config.backbones[place["backbone"]], self.sizes(place["dataset"])
        net, times = self.net(place["dataset"], block), block.initialisations
        trained = (net, "train", times * block.epochs * n.train)
        state = _state(self.facts(net, n.classes).weights, block)
        read = (self.net_of_pass(place["dataset"], block), "forward", times * n.train)
        return Work([trained, read], bytes=8 * 6 * n.train, state=state)

    def _augment(self, place: dict[str, str]) -> Work:
        n, cells = self.sizes(place["dataset"]).train, int(place["size"]) ** 2
        return Work(units={"masks": n * cells, "recipes": n * cells}, bytes=n * (8 + 4 * cells))

    def _bin(self, place: dict[str, str]) -> Work:
        selection = self.plan.selections[place["dataset"], place["selection"]]
        selector, images = self.config.selectors[selection.selector], self._pool(selection)
        units = {}
        if selector.reads_features and selector.kind != "score_bins":
            n = self.sizes(selection.dataset)
            net = self.net_of_pass(selection.dataset, self.config.backbones[selection.backbone])
            numbers = self.facts(net, n.classes).embedding + (n.classes if selector.features != "embedding" else 0)
            kind = "graphcut_bins" if selector.kind == "adaptive_bins" else selector.kind
            units[f"select {kind}"] = images**2 / n.classes * numbers
        return Work(units=units, bytes=images * ROW)

    def _sample(self, place: dict[str, str]) -> Work:
        return Work(bytes=self._kept(place) * ROW)

    def _autoencoder(self, place: dict[str, str]) -> Work:
        block, n = self.config.autoencoders[place["autoencoder"]], self.sizes(place["dataset"])
        net = self.autoencoder(place["dataset"], place["autoencoder"])
        weights = self.facts(net, n.classes).weights
        return Work([(net, "train", block.epochs * n.train)], bytes=weights, state=3 * weights)

    def _pixels(self, place: dict[str, str]) -> Work:
        block, kept, dataset = self.config.pixels[place["pixels"]], self._kept(place), place["dataset"]
        networks = []
        if block.step == "mae":  # Grad-CAM++ goes back to the last feature map alone, which is next to nothing
            networks.append((self.net_of_pass(dataset, self.config.backbones[block.backbone]), "forward", kept))
            networks.append((self.autoencoder(dataset, block.autoencoder), "forward", kept))
        return Work(networks, bytes=kept * 3 * self.config.datasets[dataset].size ** 2)

    def _train(self, place: dict[str, str]) -> Work:
        dataset, block, kept = place["dataset"], self.config.trainers[place["trainer"]], self._kept(place)
        net = self.net(dataset, block)
        weights = self.facts(net, self.sizes(dataset).classes).weights
        shown = block.epochs * kept if block.epochs else block.iterations * min(block.batch_size, kept)
        size, selection = self.config.datasets[dataset].size, self.plan.selections[dataset, place["selection"]]
        mixture = self.config.mixtures[selection.mixture]
        units = {"compose": kept * mixture.tobias / (mixture.originals + mixture.tobias) * size**2}
        drawn = {}
        if fresh := block.fresh_tobias:
            units["recipes"], drawn["compose"] = shown * fresh.size**2, shown * size**2
        return Work([(net, "train", shown)], units, drawn, bytes=weights, state=_state(weights, block))

    def _evaluate(self, place: dict[str, str]) -> Work:
        n = self.sizes(place["dataset"])
        net = self.net_of_evaluation(place["dataset"], self.config.trainers[place["trainer"]])
        return Work([(net, "forward", n.validation + n.test)])

    # -- how many -----------------------------------------------------------------------------------------------------

    def _pool(self, selection: Selection) -> int:
        mixture = self.config.mixtures[selection.mixture]
        return round(self.sizes(selection.dataset).train * (mixture.originals + mixture.tobias))

    def _kept(self, place: dict[str, str]) -> int:
        """Images of a coreset."""
        selection = self.plan.selections[place["dataset"], place["selection"]]
        whole = self.config.mixtures[selection.mixture].budget == "originals"
        n = self.sizes(place["dataset"]).train if whole else self._pool(selection)
        return max(1, math.floor(n * float(place["keep"]) + 0.5))


def _state(weights: float, block: Any) -> float:
    """Bytes of a checkpoint: weights, and what the optimiser keeps of each."""
    return weights * (3 if block.optimiser == "adamw" else 2)
