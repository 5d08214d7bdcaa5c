"""Saliency maps of a CNN: the channel sum of its last feature map (Tobias; DQ_V2, section 3.4, step 1)."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock, get_ident
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dqv2.arguments import check_positive
from dqv2.inputs import normalise
from dqv2.runtime.files import atomic_path
from dqv2.runtime.logging import logger

# uint8 or float[N, 3, H, W]: a tensor, an array, or an object with a length and shape that is read by slices
Images = Tensor | np.ndarray | Any

# Models that are in eval mode for a while (by id): for how many contexts, and the modules to set back to train mode
_evaluated: dict[int, tuple[int, list[nn.Module]]] = {}
_changing = Lock()  # of _evaluated and these modes


class ForwardPass(NamedTuple):
    """The outputs of one pass over the images, all float32 on the CPU."""

    embedding: Tensor  # float32[N, E], the input of the last layer
    logits: Tensor  # float32[N, C]
    saliency: Tensor  # float32[N, h, w], as from `saliency`; [N, 0, 0] where the network has no feature map


def saliency(model: nn.Module, images: Images, *, batch_size: int = 256) -> Tensor:
    """Channel sum of the model's last feature map, unpooled: float32[N, h, w] on the images' device.

    Source: Cao & Wu 2022 (Tobias); DQ_V2, section 3.4, step 1. model: with timm's `forward_features` (a transformer's
    patch tokens are put back on their grid), else one that pools its feature map by a global `AdaptiveAvgPool2d`, as
    torchvision's ResNets do. images: uint8[N, 3, H, W] (scaled and normalised by `dqv2.inputs.normalise`), or floats,
    used unchanged; anything but a tensor is read batch by batch. The model runs in eval mode on its own device, without
    autocast; its training flags are restored.

    Raises TypeError for another model, ValueError for other images, and for a map of a single point, which would give
    every image the same mask.
    """
    to_map = _feature_map(model)
    device = images.device if isinstance(images, Tensor) else torch.device("cpu")
    maps = []
    with evaluating(model), torch.inference_mode():
        for _, batch in batches(model, images, batch_size):
            with torch.autocast(batch.device.type, enabled=False):
                found = to_map(_laid_out(model, batch))
            require_places(found, type(model).__name__, batch.shape[-1])
            if not maps:
                _warn_of_noise(found, type(model).__name__)
            maps.append(found.float().sum(1).to(device))
    return torch.cat(maps).clone()


def forward_pass(model: nn.Module, images: Images, *, batch_size: int = 256, bf16: bool = False) -> ForwardPass:
    """Embedding, logits and saliency of all images from a single forward pass, in eval mode.

    model: with timm's `forward_features(x)` and `forward_head(features, pre_logits=...)`; images as in
    `saliency`. bf16: compute in bfloat16 where autocast allows; the results are still float32, with about three correct
    digits. Raises TypeError for another model, ValueError for other images, RuntimeError where a batch does not fit
    into the device's memory.
    """
    found: dict[str, Tensor] = {}
    for start, outputs in _passes(model, images, batch_size, bf16, masks=True):
        for name, values in outputs.items():
            if start == 0:
                found[name] = torch.empty(len(images), *values.shape[1:], dtype=torch.float32)
            found[name][start : start + len(values)] = values
    return ForwardPass(**found)


def write_pass(
    model: nn.Module, images: Images, files: Mapping[str, str | Path], *, batch_size: int = 256, bf16: bool = False
) -> None:
    """`forward_pass` into .npy files, written atomically, with memory for only a few batches.

    files: field of `ForwardPass` -> path. Raises ValueError for an unknown field or one path for two, and as
    `forward_pass` does.
    """
    if unknown := sorted(set(files) - set(ForwardPass._fields)):
        raise ValueError(f"files may name {', '.join(ForwardPass._fields)}, got {', '.join(unknown)}")
    if len({Path(path).absolute() for path in files.values()}) < len(files):
        raise ValueError(f"every field needs a file of its own, got {', '.join(map(str, files.values()))}")
    with ExitStack() as stack:
        # Written sequentially, not memory-mapped, so that a full disk raises an error instead of crashing.
        opened = {
            name: stack.enter_context(stack.enter_context(atomic_path(path)).open("wb")) for name, path in files.items()
        }
        for start, outputs in _passes(model, images, batch_size, bf16, masks="saliency" in files):
            for name, file in opened.items():
                values = np.ascontiguousarray(outputs[name].numpy())
                if start == 0:
                    shape = (len(images), *values.shape[1:])
                    header = {"descr": values.dtype.str, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(values.data)


def _passes(
    model: nn.Module, images: Images, batch_size: int, bf16: bool, *, masks: bool
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """(index of the first image, fields of `ForwardPass` for a batch), batch after batch. masks: whether they are
    wanted."""
    if not hasattr(model, "forward_features") or not hasattr(model, "forward_head"):
        raise TypeError(
            f"{type(model).__name__} has no forward_features and forward_head; build the model with timm, or "
            "give it these two methods"
        )

    def run(batch: Tensor, first: bool) -> dict[str, Tensor]:
        batch = _laid_out(model, batch)
        with torch.inference_mode(), torch.autocast(batch.device.type, torch.bfloat16, enabled=bf16):
            features = model.forward_features(batch)
            embedding = model.forward_head(features, pre_logits=True).flatten(1)
            logits = model.forward_head(features)
            try:
                maps = as_map(model, features)
            except TypeError:  # not every network has a feature map
                maps = torch.empty(len(features), 1, 0, 0)
            if first and masks and maps.numel():
                _warn_of_noise(maps, type(model).__name__)
            outputs = {"embedding": embedding, "logits": logits, "saliency": maps.float().sum(1)}
        return {name: values.float().to("cpu", non_blocking=True) for name, values in outputs.items()}

    waiting = None
    with evaluating(model):
        for start, batch in batches(model, images, batch_size):
            try:
                outputs = run(batch, start == 0)
            except torch.cuda.OutOfMemoryError as error:
                raise RuntimeError(
                    f"the device's memory does not suffice for a forward pass of {len(batch)} images of "
                    f"{batch.shape[2]}x{batch.shape[3]} at once: lower batch_size, or jobs_per_gpu where jobs share it"
                ) from error
            arrived = None
            if batch.is_cuda:
                arrived = torch.cuda.Event()
                arrived.record(torch.cuda.current_stream(batch.device))
            # A GPU gets the next batch before this one's results are waited for.
            if waiting is not None:
                yield _arrived(*waiting)
            waiting = start, outputs, arrived
        yield _arrived(*waiting)


def _laid_out(model: nn.Module, batch: Tensor) -> Tensor:
    """The batch in channels-last layout, which makes convolutions of large maps faster (1.2 times on a CPU). Published
    weights on a CPU keep timm's contiguous layout, as another order of sums would change the last bits."""
    as_timm = getattr(model, "published", False) and batch.device.type == "cpu"
    return batch.contiguous(memory_format=torch.contiguous_format if as_timm else torch.channels_last)


def _arrived(start: int, outputs: dict[str, Tensor], event: Any) -> tuple[int, dict[str, Tensor]]:
    if event is not None:
        event.synchronize()
    return start, outputs


def batches(model: nn.Module, images: Images, batch_size: int) -> Iterator[tuple[int, Tensor]]:
    """Yield (index of the first image, network input on the model's device and in its precision) for each batch.

    For a GPU the next batch is read while the current one is processed. Raises ValueError unless images are
    [N, 3, H, W] with N at least 1, and give as many when sliced, and batch_size at least 1.
    """
    shape = getattr(images, "shape", None)
    if shape is None or len(shape) != 4 or shape[1] != 3 or len(images) == 0:
        got = f"{type(images).__name__}, which has no shape" if shape is None else f"shape {list(shape)}"
        raise ValueError(f"images must be [N, 3, H, W] with N at least 1, a tensor or an array, got {got}")
    check_positive(batch_size, "batch_size")
    weight = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    cuda = weight.device.type == "cuda"

    def read(start: int) -> Tensor:
        batch = images[start : start + batch_size]
        end = min(start + batch_size, len(images))
        if tuple(np.shape(batch)) != (wanted := (end - start, *shape[1:])):
            raise ValueError(
                f"images {start} to {end - 1} should be of shape {list(wanted)}, but are of {list(np.shape(batch))}: "
                f"{type(images).__name__} does not give what its length and shape say"
            )
        if isinstance(batch, Tensor):
            return batch
        # A copy: torch cannot wrap the read-only pages of a memory-mapped file.
        batch = torch.from_numpy(np.array(batch))
        return batch.pin_memory() if cuda else batch

    starts = range(0, len(images), batch_size)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read, 0) if cuda else None
        for start in starts:
            batch = coming.result() if cuda else read(start)
            if cuda and start + batch_size < len(images):
                coming = reader.submit(read, start + batch_size)
            batch = batch.to(weight.device, non_blocking=True)
            if batch.is_floating_point() or not getattr(model, "reads_pixels", False):
                batch = (batch if batch.is_floating_point() else normalise(batch)).to(weight.dtype)
            yield start, batch


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set the model to eval mode within the context; afterwards its training flags are restored, by the last to leave
    where several threads use one model."""
    with _changing:
        count, training = _evaluated.get(id(model), (0, []))
        training = [*training, *(module for module in model.modules() if module.training)]
        _evaluated[id(model)] = count + 1, training
        model.eval()
    try:
        yield
    finally:
        with _changing:
            count, training = _evaluated.pop(id(model))
            if count > 1:
                _evaluated[id(model)] = count - 1, training
            else:
                for module in training:
                    module.training = True


def _feature_map(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The function from a batch to the model's last feature map, [n, C, h, w]."""
    if hasattr(model, "forward_features"):
        return lambda batch: as_map(model, model.forward_features(batch))
    modules = model.modules() if isinstance(model, nn.Module) else ()
    pools = [m for m in modules if isinstance(m, nn.AdaptiveAvgPool2d) and m.output_size in (1, (1, 1))]
    if not pools:
        raise TypeError(
            f"{type(model).__name__} has neither forward_features nor a global AdaptiveAvgPool2d, so its "
            "last feature map is unknown; give it a method forward_features(x) that returns [N, C, h, w]"
        )

    def run(batch: Tensor) -> Tensor:
        # Squeeze-and-excitation blocks pool too; the head's pool is the last one to run.
        pooled, own = [], get_ident()

        def note(_: nn.Module, args: tuple[Any, ...]) -> None:
            if get_ident() == own:  # another thread may use the model, too
                pooled.append(args[0])

        hooks = [pool.register_forward_pre_hook(note) for pool in pools]
        try:
            model(batch)
        finally:
            for hook in hooks:
                hook.remove()
        return as_map(model, pooled[-1])

    return run


def as_map(model: nn.Module, features: Tensor) -> Tensor:
    """The output of `forward_features` as a map [N, C, h, w]: a transformer's patch tokens are put back on their grid.

    Raises TypeError where that is impossible: for lists, tokens without a grid, or maps with channels last.
    """
    name, channels = type(getattr(model, "model", model)).__name__, getattr(model, "num_features", None)
    if isinstance(features, Tensor) and features.dim() == 4:
        if channels == features.shape[3] != features.shape[1]:
            raise TypeError(
                f"the last features of {name} are of shape {list(features.shape)} with their {channels} channels last: "
                "no map [N, C, h, w]"
            )
        return features
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if isinstance(features, Tensor) and features.dim() == 3 and grid is not None:
        patches = features[:, getattr(model, "num_prefix_tokens", 0) :]
        if patches.shape[1] == grid[0] * grid[1]:
            return patches.transpose(1, 2).unflatten(2, grid)
    got = f"shape {list(features.shape)}" if isinstance(features, Tensor) else type(features).__name__
    raise TypeError(f"the last features of {name} are not a map [N, C, h, w] but of {got}")


def _warn_of_noise(features: Tensor, name: str) -> None:
    """Warn where the channels of a map, [N, C, h, w], sum to zero but for rounding, so that masks would be random.

    So they do after a layer normalisation whose weights are all equal.
    """
    rounding, features = 8 * torch.finfo(features.dtype).eps, features.float()
    if 0 < float(features.abs().sum(1).max()) * rounding >= float(features.sum(1).abs().max()):
        logger.warning(
            "the channels of the last feature map of %s sum to zero but for rounding (as after a layer normalisation "
            "that is not trained yet): masks from it would be random. Train it for some epochs or take another network",
            name,
        )


def require_places(features: Tensor, name: str, size: int) -> None:
    """Raise ValueError where a map, [N, C, h, w], is a single point for images of `size` pixels a side."""
    if features.shape[2] * features.shape[3] == 1:
        raise ValueError(
            f"the last feature map of {name} is a single point for images of {size} px, which tells no places apart "
            "(every image would have the same mask): set the backbone's input_size to more pixels, or stem: small for "
            "a ResNet"
        )
