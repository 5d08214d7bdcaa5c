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
    """A network at an image size: what a rate is measured for."""

    model: str  # a name of `train.models`, or `mae-SIZE` for an autoencoder
    size: int  # pixels a side of the images
    stem: str = "standard"  # as in the configuration, like input_size
    args: tuple[tuple[str, Any], ...] = ()  # further arguments, as (name, value), sorted
    input_size: int | None = None
    precision: str = "float32"  # or "bfloat16", of its arithmetic
    compile: bool = False  # whether torch.compile translates it, which only a training does

    @property
    def text(self) -> str:
        """What its rates go by: "resnet50 64px small-stem bfloat16"; float32 and eager are not said."""
        parts = [self.model, f"{self.size}px"]
        parts += [f"{self.stem}-stem"] if self.stem != "standard" else []
        parts += [f"seen-at-{self.input_size}px"] if self.input_size else []
        parts += [f"{key}={value}" for key, value in self.args]
        parts += [self.precision] if self.precision != "float32" else []
        return " ".join(parts + ["compiled"] * self.compile)


class Facts(NamedTuple):
    """What a network takes, apart from any device: FLOPs an image (2 a multiplication), bytes, numbers."""

    forward: float  # FLOPs of one image forward
    train: float  # and backward
    weights: int  # bytes, float32
    embedding: int  # numbers that the last layer reads
    cells: int  # places of the last feature map


@dataclass(frozen=True)
class Device:
    """Something that runs networks."""

    name: str  # as asked for
    title: str  # as printed
    threads: int = 0  # of the CPU, that the rates are for; 0 for a GPU
    networks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # `Net.text` -> kind -> images/s
    measured: str = ""  # where and when; empty where nothing was
    peak: float = 0.0  # FLOP/s of the data sheet in bfloat16
    float32_share: float = 1.0  # FLOP/s in float32, as a share of those in bfloat16
    utilisation: float = 0.0  # assumed share of `peak`, for networks that were not measured where none was
    note: str = ""  # where peak and utilisation come from

    @property
    def auto(self) -> str:
        """What `precision: auto` is taken for: bfloat16 on a GPU, and on a CPU whose rates have networks in it."""
        halves = any("bfloat16" in text.split() for text in self.networks)
        return "bfloat16" if halves or not self.threads else "float32"

    def rate(self, net: Net, kind: str, facts: Callable[[Net], Facts], known: Mapping[str, Net]) -> tuple[float, bool]:
        """Images a second of a network, and whether they were measured on this device.

        kind: "train" or "forward". facts: FLOPs of a network, for what was not measured. known: `Net.text` -> network,
        of those measured, to scale from.
        """
        own = self.networks.get(net.text, {})
        if kind in own:
            return own[kind], True
        return self.flops(net.precision, kind, facts, known) / getattr(facts(net), kind), False

    def flops(self, precision: str, kind: str, facts: Callable[[Net], Facts], known: Mapping[str, Net]) -> float:
        """FLOP/s for networks that were not measured: the median of those that were, or a share of the peak.

        Those of the same precision where there are any, else those of the other one, converted.
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
    """The CPU work beside the devices: units a second of one thread, and seconds to start a job
    from the run's warm server (on a cluster, where jobs share a start by Snakemake's groups, it is 3 s a group).

    `masks` and `recipes`: cells/s; `compose`: pixels/s; `decode`: images/s; `select`: kind of selector ->
    (images of a class)² × numbers of a feature, a second.
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
        """Units a second; of "select KIND" GraphCut's where that kind was not measured."""
        if not name.startswith("select "):
            return getattr(self, name)
        return self.select.get(name.removeprefix("select ")) or self.select["graphcut_bins"]


@dataclass(frozen=True)
class Rates:
    """Devices by name, the host, and the networks that the rates name."""

    devices: dict[str, Device]
    host: Host
    nets: dict[str, Net]

    def device(self, name: str) -> Device:
        """A device. Raises ConfigError, in one sentence, where there is none of that name."""
        if name not in self.devices:
            raise ConfigError(
                f"--device {name}: there are no rates for it; there are {', '.join(sorted(self.devices))} "
                "(python benchmarks/rates.py -o FILE measures those of this machine, for --rates FILE)"
            )
        return self.devices[name]


def read_rates(file: str | Path | None = None) -> Rates:
    """The rates that come with the project, with those of a file on top: what it measured replaces what is there.

    Raises ConfigError where the file is not one of rates; says why.
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
        raise ConfigError(f"{file or BUILT_IN} is no file of rates as benchmarks/rates.py writes it: {error}") from None
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
