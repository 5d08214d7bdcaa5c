"""How much work each job does: images through networks, cells, pixels, similarities, bytes written."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dqv2.cost.rates import Facts, Net
from dqv2.cost.sizes import Sizes
from dqv2.plan import Plan, PlannedJob, Selection
from dqv2.stages import Wildcards


@dataclass
class Work:
    """The work of a job."""

    networks: list[tuple[Net, str, float]] = field(default_factory=list)  # (network, "train" or "forward", images)
    units: dict[str, float] = field(default_factory=dict)  # rate of `Host` ("select KIND" for a selector) -> units
    drawn: dict[str, float] = field(default_factory=dict)  # the same, on the network's device; not counted on a GPU
    spread: bool = False  # whether the units spread over the job's cores
    bytes: float = 0.0  # written to disk
    state: float = 0.0  # bytes of a training's checkpoint while it runs


class Reckoning:
    """What stages need to compute their jobs' work: a plan, the datasets' sizes, FLOPs and shapes of networks with a
    given number of classes, and the meaning of `precision: auto`."""

    ROW = 80  # bytes of a line in a table of ids, roughly
    work = Work  # the type that `Stage.work` returns

    def __init__(
        self,
        plan: Plan,
        sizes: Callable[[str], Sizes],
        facts: Callable[[Net, int], Facts],
        *,
        auto: str = "bfloat16",
    ):
        self.plan, self.config, self.sizes, self.facts, self.auto = plan, plan.config, sizes, facts, auto

    def of(self, job: PlannedJob) -> Work:
        """The work of a job."""
        return job.stage.work(self, job.w)

    def net(self, dataset: str, block: Any) -> Net:
        """The network of a trainer or backbone on a dataset, as it is trained."""
        images = self.config.datasets[dataset]
        args = tuple(sorted(block.args.items()))
        stem = block.stem_for(images.stem)
        precision = self.auto if block.precision == "auto" else block.precision
        return Net(block.model, images.size, stem, args, block.input_size, precision, block.compile)

    def net_of_pass(self, dataset: str, backbone: Any) -> Net:
        """The network as it computes maps, features and scores: in float32, however it was trained."""
        return replace(self.net(dataset, backbone), precision="float32", compile=False)

    def net_of_evaluation(self, dataset: str, trainer: Any) -> Net:
        """The network as it is evaluated: in the precision of its training, not compiled."""
        return replace(self.net(dataset, trainer), compile=False)

    def autoencoder(self, dataset: str, name: str) -> Net:
        """A masked autoencoder; for published weights its size is taken from the file's name, else large."""
        block = self.config.autoencoders[name]
        if block.weights == "self":
            args = (("grid", block.grid), ("hidden", block.mask_ratio))
            return Net(f"mae-{block.size}", self.config.datasets[dataset].size, args=args)
        size = next((size for size in ("base", "large", "huge") if size in block.weights.lower()), "large")
        return Net(f"mae-{size}", 224, args=(("grid", 14), ("hidden", 0.25)))

    def one_pass(self, w: Wildcards, *, maps: bool) -> Work:
        """One pass of a backbone over the training images."""
        n = self.sizes(w.dataset)
        net = self.net_of_pass(w.dataset, self.config.backbones[w.backbone])
        facts = self.facts(net, n.classes)
        numbers = facts.embedding + n.classes + (facts.cells if maps else 0)
        return Work([(net, "forward", n.train)], bytes=4 * n.train * numbers)

    @staticmethod
    def state(weights: float, block: Any) -> float:
        """Bytes of a checkpoint: the weights and the optimiser's state."""
        return weights * (3 if block.optimiser == "adamw" else 2)

    def pool(self, selection: Selection) -> int:
        """Number of images in a pool."""
        mixture = self.config.mixtures[selection.mixture]
        return round(self.sizes(selection.dataset).train * (mixture.originals + mixture.tobias))

    def kept(self, w: Wildcards) -> int:
        """Number of images in a coreset."""
        selection = self.plan.selection(w)
        whole = self.config.mixtures[selection.mixture].budget == "originals"
        n = self.sizes(w.dataset).train if whole else self.pool(selection)
        return max(1, round(n * float(w.keep)))
