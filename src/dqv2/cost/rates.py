"""How fast devices are: measured rates from files, and estimates from FLOPs where nothing was measured."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dqv2.config import ConfigError

BUILT_IN = Path(__file__).with_name("rates.yaml")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Net:
    """A network at an image size, for which a rate is measured."""

    model: str  # a name of `train.models`, or `mae-SIZE` for an autoencoder
    size: int  # pixels a side of the images
    stem: str = "standard"  # as in the configuration, like input_size
    args: tuple[tuple[str, Any], ...] = ()  # further arguments, as sorted (name, value) pairs
    input_size: int | None = None
    precision: str = "float32"  # or "bfloat16"
    compile: bool = False  # whether it is compiled by torch.compile, which only trainings do

    @property
    def text(self) -> str:
        """The key of its rates, such as "resnet50 64px small-stem bfloat16"; float32 and eager are implied."""
        parts = [self.model, f"{self.size}px"]
        parts += [f"{self.stem}-stem"] if self.stem != "standard" else []
        parts += [f"seen-at-{self.input_size}px"] if self.input_size else []
        parts += [f"{key}={value}" for key, value in self.args]
        parts += [self.precision] if self.precision != "float32" else []
        return " ".join(parts + ["compiled"] * self.compile)


class Facts(NamedTuple):
    """What a network needs on any device; 2 FLOPs per multiply-add."""

    forward: float  # FLOPs of one image, forward
    train: float  # FLOPs of one image, forward and backward
    weights: int  # bytes, float32
    embedding: int  # width of the last layer's input
    cells: int  # positions of the last feature map


@dataclass(frozen=True)
class Device:
    """Something that runs networks."""

    name: str  # as given to --device
    title: str  # as printed
    threads: int = 0  # CPU threads that the rates were measured with; 0 for a GPU
    networks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # `Net.text` -> kind -> images/s
    measured: str = ""  # where and when; empty where nothing was
    peak: float = 0.0  # FLOP/s of the data sheet in bfloat16
    float32_share: float = 1.0  # FLOP/s in float32, as a share of those in bfloat16
    utilisation: float = 0.0  # assumed share of `peak`, where no network was measured
    note: str = ""  # where peak and utilisation come from

    @property
    def auto(self) -> str:
        """What `precision: auto` means here: bfloat16 on a GPU, and on a CPU with rates measured in bfloat16."""
        halves = any("bfloat16" in text.split() for text in self.networks)
        return "bfloat16" if halves or not self.threads else "float32"

    def rate(self, net: Net, kind: str, facts: Callable[[Net], Facts], known: Mapping[str, Net]) -> tuple[float, bool]:
        """Images per second of a network, and whether that was measured on this device.

        kind: "train" or "forward". facts: FLOPs of a network, where it was not measured. known: `Net.text` -> network,
        for the measured ones, to scale from.
        """
        own = self.networks.get(net.text, {})
        if kind in own:
            return own[kind], True
        return self.flops(net.precision, kind, facts, known) / getattr(facts(net), kind), False

    def flops(self, precision: str, kind: str, facts: Callable[[Net], Facts], known: Mapping[str, Net]) -> float:
        """FLOP/s for networks that were not measured: the median of the measured ones, or a share of the peak.

        The median is over networks of the same precision if there are any, else of the other precision, converted.
        """
        rates: dict[str, list[float]] = {name: [] for name in PRECISIONS}
        for text, found in self.networks.items():
            if kind in found and text in known:
                rates[known[text].precision].append(getattr(facts(known[text]), kind) * found[kind])
        if rates[precision]:
            return statistics.median(rates[precision])
        converted = [value / self._share(name) for name, values in rates.items() for value in values]
        flops = statistics.median(converted) if converted else self.peak * self.utilisation
        return flops * self._share(precision)

    def _share(self, precision: str) -> float:
        return self.float32_share if precision == "float32" else 1.0


@dataclass(frozen=True)
class Host:
    """CPU work: units per second of one thread, and seconds to start a job from the run's warm server (on a cluster,
    where the jobs of a Snakemake group share a start, 3 s per group).

    `masks` and `recipes`: cells/s; `compose`: pixels/s; `decode`: images/s; `select`: kind of selector ->
    (images of a class)² × feature dimension, per second.
    """

    title: str
    measured: str
    start_up: float
    masks: float
    recipes: float
    compose: float
    decode: float
    select: Mapping[str, float]

    def rate(self, name: str) -> float:
        """Units per second; for "select KIND" that of GraphCut where the kind was not measured."""
        if not name.startswith("select "):
            return getattr(self, name)
        return self.select.get(name.removeprefix("select ")) or self.select["graphcut_bins"]


@dataclass(frozen=True)
class Rates:
    """Devices by name, the host, and the measured networks by `Net.text`."""

    devices: dict[str, Device]
    host: Host
    nets: dict[str, Net]

    def device(self, name: str) -> Device:
        """The device of this name; raises ConfigError where there is none."""
        if name not in self.devices:
            raise ConfigError(
                f"--device {name}: there are no rates for it; there are {', '.join(sorted(self.devices))} "
                "(python benchmarks/rates.py -o FILE measures those of this machine, for --rates FILE)"
            )
        return self.devices[name]


def read_rates(file: str | Path | None = None) -> Rates:
    """The project's own rates, overridden by those of `file`.

    Raises ConfigError where the file cannot be read or is not a valid file of rates.
    """
    merged = _load(BUILT_IN)
    try:
        if file is not None:
            own = _load(Path(file))
            merged["host"] = {**merged["host"], **(own.get("host") or {})}
            for name, block in (own.get("devices") or {}).items():
                merged["devices"][name] = {**merged["devices"].get(name, {}), **block}
        nets: dict[str, Net] = {}
        devices = {name: _device(name, block, nets) for name, block in merged["devices"].items()}
        host = Host(**merged["host"])
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{file or BUILT_IN} is not a file of rates as benchmarks/rates.py writes it: {error}"
        ) from None
    return Rates(devices, host, nets)


def _load(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"--rates {file}: {error}") from None
    if not isinstance(found, dict) or not {"devices", "host"} & set(found):
        makes = "python benchmarks/rates.py -o FILE makes one"
        raise ConfigError(f"--rates {file}: neither devices nor host in it; {makes}")
    return found


def _device(name: str, block: dict[str, Any], nets: dict[str, Net]) -> Device:
    networks = {}
    for entry in block.pop("networks", None) or []:
        keys = ("model", "size", "stem", "input_size", "precision", "compile")
        args = tuple(sorted((entry.get("args") or {}).items()))
        net = Net(args=args, **{key: entry[key] for key in keys if key in entry})
        if net.precision not in PRECISIONS:
            raise ValueError(f"{net.model}: precision is {' or '.join(PRECISIONS)}, not {net.precision}")
        nets[net.text] = net
        networks[net.text] = {kind: float(entry[kind]) for kind in ("train", "forward") if kind in entry}
        if not networks[net.text] or min(networks[net.text].values()) <= 0:
            raise ValueError(f"{net.text} needs train or forward, in images a second, above 0")
    peak = float(block.pop("peak_tflops", 0)) * 1e12
    device = Device(name, networks=networks, peak=peak, **block)
    if not networks and not device.peak * device.utilisation:
        raise ValueError(f"{name} has neither networks nor peak_tflops and utilisation")
    if device.float32_share <= 0:
        raise ValueError(f"{name}: float32_share must be above 0")
    return device
