"""Published weights of networks: what `weights:` of the configuration refers to, and how the file is fetched."""

import argparse
import importlib.util
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

PRETRAINED = ("weights", "sha256", "layers", "head", "mean", "std")  # keys that only networks with such weights have
FOLDER = Path("data/weights")  # where weights from timm's hub are stored
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".tar")
# What torch says about a pickle that asks for anything but weights
FORBIDDEN = ("Unsupported global", "Unsupported class", "GLOBAL", "Trying to ")
HUB_NAME = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")


class WeightsError(ValueError):
    """A weights file is missing, damaged or of the wrong kind; the message says which, where and what to do."""


class Place(NamedTuple):
    """Where weights are read from."""

    path: Path | None  # the file, or a folder; None where the package is not installed
    hub: str = ""  # name and tag of a model on timm's hub, or empty
    package: str = ""  # the Python package that contains the file, or empty


def place_of(weights: str) -> Place:
    """Where weights are stored, whether or not they exist yet.

    Args:
        weights: NAME.TAG of timm's hub, `package:NAME/FILE`, or the path of a file or folder.

    Raises ValueError for anything else, such as a timm model without its tag.
    """
    if weights.startswith("package:"):
        name, _, file = weights.removeprefix("package:").partition("/")
        found = importlib.util.find_spec(name) if name.isidentifier() else None
        places = list(found.submodule_search_locations or []) if found else []
        return Place(Path(places[0]) / file if places else None, package=name)
    if weights.endswith(SUFFIXES) or "/" in weights:
        return Place(Path(weights).expanduser())
    if hub_name(weights):
        return Place(FOLDER / f"{weights}.safetensors", hub=weights)
    raise ValueError(
        f"weights {weights!r} is neither a file ({', '.join(SUFFIXES)}) nor a model of timm with its tag, such as "
        "resnet50.tv_in1k"
    )


def hub_name(weights: str) -> str:
    """`weights` where it has the form NAME.TAG of timm's hub, else the empty string."""
    return weights if HUB_NAME.fullmatch(weights) and not weights.endswith(SUFFIXES) else ""


def why_missing(place: Place, url: str | None) -> str | None:
    """Why weights are missing and cannot be fetched, and what to do, as a clause; None where they can be obtained."""
    if place.path is None:
        return (
            f"the Python package {place.package.replace('_', '-')} is not installed: install it with pip (the "
            "demo's: make setup-demo)"
        )
    if place.path.exists() or place.hub or url:
        return None
    if place.package:
        return f"the installed package {place.package} has no file {place.path.name}"
    return f"there is no such file (looked for {place.path.absolute()}): put it there, or give its url"


def fetch_weights(place: Place, *, url: str | None = None, sha256: str | None = None) -> Path:
    """The file of published weights, downloaded unless it exists; an interrupted download with a known checksum
    resumes where it stopped.

    Args:
        place: as from `place_of`. A model of timm's hub comes from Hugging Face (or from HF_ENDPOINT), with the
            checksum that the hub gives for it.
        url: an address to fetch it from instead.
        sha256: the expected checksum, where it is known.

    Raises:
        WeightsError: it is missing and there is no source to fetch it from.
        DataError: the download failed.
    """
    from filelock import FileLock

    from dqv2.data.download import download

    if why := why_missing(place, url):
        raise WeightsError(f"{why}.")
    if not (path := place.path).exists():
        checksum = f"sha256:{sha256}" if sha256 else None
        if url is None:
            url, published = address_on_hub(place)
            checksum = checksum or published
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):  # two runs may fetch it at once
            download(url, path, checksum)
    return path


def require_known(place: Place) -> None:
    """Raise WeightsError unless timm's hub has these weights."""
    import timm

    model, _, tag = place.hub.partition(".")
    known = timm.list_pretrained(f"{model}.*")
    if place.hub not in known:
        tags = ", ".join(name.partition(".")[2] for name in known)
        raise WeightsError(f"timm has no weights {tag} of {model}" + (f": it has {tags}." if tags else "."))
    found = timm.get_pretrained_cfg(place.hub)
    if not found.hf_hub_id:
        raise WeightsError(
            f"{place.hub} is not on timm's hub: set weights to a path of yours, and url to "
            f"{found.url or 'where they are'}."
        )


def address_on_hub(place: Place) -> tuple[str, str | None]:
    """URL of a model's weights on timm's hub, and their checksum `sha256:HEX` where the hub provides it, else None.

    Raises WeightsError where timm does not know the weights, or the hub does not have them or does not answer.
    """
    import timm
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    require_known(place)
    repository, _, revision = timm.get_pretrained_cfg(place.hub).hf_hub_id.partition("@")
    repository = f"timm/{place.hub}" if repository == "timm/" else repository
    url = hf_hub_url(repository, "model.safetensors", revision=revision or None)
    try:
        told = get_hf_file_metadata(url, retry_on_errors=True)
    except Exception as error:  # the hub's HTTP client, and so its exceptions, depend on its version
        raise WeightsError(
            f"{place.hub} cannot be downloaded from {constants.ENDPOINT} ({str(error).splitlines()[0]}). Fetch {url} "
            f"by hand to {place.path}, give a url, or set HF_ENDPOINT to a mirror."
        ) from error
    known_sum = re.fullmatch("[0-9a-f]{64}", told.etag or "")
    return url, f"sha256:{told.etag}" if known_sum else None


def checksum_of(path: str | Path) -> str:
    """SHA-256 of a file of weights, or of a folder's config.json and weights together."""
    from dqv2.runtime.files import sha256

    path = Path(path).expanduser()
    if not path.is_dir():
        return sha256(path)
    files = [file for file in sorted(path.iterdir()) if file.suffix in (".json", ".safetensors", ".bin")]
    return sha256("".join(f"{file.name} {sha256(file)}\n" for file in files).encode())


def read_weights(path: Path) -> Any:
    """The contents of a safetensors or torch file, on the CPU; nothing but weights is ever loaded from it.

    Raises WeightsError where the file is truncated or not a weights file.
    """
    import torch

    from dqv2.runtime.files import in_its_place
    from dqv2.runtime.sentences import require_working

    if path.is_dir():
        raise WeightsError(f"{path} is a folder, but should be a file of weights.")
    with path.open("rb") as file:
        first = file.read(64)
    if not first:
        raise WeightsError(f"{path} is empty: delete it, and download or copy it again.")
    if what := in_its_place(first):
        raise WeightsError(f"{path} is {what}, not weights: delete it, and download the file itself.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # Many authors' training checkpoints hold their command line along with the weights
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # if it cannot be read, it raises anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on a truncated or foreign file both libraries may raise anything
        require_working(error, path)
        # Their own messages advise loading it without this protection
        unknown = first.startswith((b"\x80", b"PK")) and "Unsupported operand" in str(error)  # of a pickle, or of noise
        if unknown or any(sign in str(error) for sign in FORBIDDEN):
            why = (
                "holds more than weights as torch.save writes them, which is not loaded for safety: save its state_dict"
            )
        else:
            why = "is truncated, or not a file of weights: delete it, and download or copy it again"
        raise WeightsError(f"{path} {why}.") from error


def fill(model: Any, state: dict[str, Any], path: Path, name: str) -> None:
    """Load all weights of a network from the `state` of a file.

    name: of the network, for messages. Raises WeightsError where names or shapes do not match, or values are not as
    `require_values` wants them.
    """
    require_values(path, model, state)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).split("\n")[1:4]]  # what is missing, what is more, another shape
        raise WeightsError(f"{path} does not fit {name}: {' '.join(line[:120] for line in lines)}") from error


def require_values(path: Path, model: Any, state: dict[str, Any]) -> None:
    """Raise WeightsError unless every weight of the model in `state` is a dense floating-point tensor, and the learnt
    ones and running statistics are finite.

    Integers and quantised values mean something else, and one non-finite value makes every output non-finite.
    """
    import torch

    trained = trained_values(model)
    for name, own in model.state_dict().items():
        value = state.get(name)
        if value is None or not own.is_floating_point():  # a counter, or indices
            continue
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            why = "is sparse, quantised or without values"
        elif not value.is_floating_point():
            why = f"is of type {str(value.dtype).removeprefix('torch.')}"
        elif name in trained and not torch.isfinite(value.float()).all():
            why = "holds values that are not finite"
        else:
            continue
        raise WeightsError(f"{path}: {name} {why}: save the network's state_dict, in float32, float16 or bfloat16.")


def trained_values(model: Any) -> dict[str, Any]:
    """What a training changes of a network, by name: its parameters and running statistics."""
    learnt = {name for name, _ in model.named_parameters()}
    return {name: value for name, value in model.state_dict().items() if name in learnt or ".running_" in name}


def noted(note: str | Path) -> tuple[Path, str]:
    """The weights file and its SHA-256, as the stage `weights` recorded them in its note.

    Raises WeightsError where the note is damaged, or the file is gone or has changed since.
    """
    from dqv2.runtime.files import load_json

    try:
        seen = load_json(note)
        path, known = Path(seen["path"]), seen["sha256"]
    except (ValueError, KeyError, TypeError):
        raise WeightsError(f"{note} is damaged: remove it, and run again to check the weights.") from None
    if not path.exists():
        raise WeightsError(f"{path} is gone: remove {note}, and run again to look for it.")
    if (found := checksum_of(path)) != known:
        raise WeightsError(f"{path} has changed since it was checked: remove {note}, and run again to check it.")
    return path, found
