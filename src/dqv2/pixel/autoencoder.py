"""Masked autoencoders (He et al. 2022): building, loading from the published formats, reconstructing patches."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from transformers import ViTMAEConfig, ViTMAEForPreTraining
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

from dqv2.arguments import check_images, check_masks, check_positive, check_same_number, kind_of
from dqv2.declared import check_choice
from dqv2.inputs import denormalise, normalise
from dqv2.pixel.patches import paste
from dqv2.runtime.files import save_weights
from dqv2.runtime.sentences import require_working
from dqv2.semantic.saliency import evaluating
from dqv2.weights import WeightsError, fill, read_weights, require_values

NO_COLOURS = (
    "{} was trained to draw normalised patches (norm_pix_loss), whose colours are lost: take weights trained without "
    "it, such as the authors' mae_visualize_* files."
)

SIZES = {  # width, depth and heads of the encoder, then of the decoder
    "mini": (96, 4, 3, 64, 2, 4),  # ours, for images of 32 px on a CPU
    "tiny": (192, 12, 3, 128, 4, 4),
    "base": (768, 12, 12, 512, 8, 16),
    "large": (1024, 24, 16, 512, 8, 16),
    "huge": (1280, 32, 16, 512, 8, 16),
}


def build_autoencoder(size: str, *, image_size: int, grid: int) -> nn.Module:
    """A masked autoencoder with random weights (drawn from torch's global generator): transformers' ViTMAE.

    size: a key of `SIZES`. image_size: pixels a side. grid: patches a side. Raises ValueError for another size, and
    where the grid does not divide image_size.
    """
    check_choice(size, "size", SIZES)
    if image_size % grid:
        raise ValueError(f"{grid} patches a side do not divide {image_size} pixels")
    config = _config(*SIZES[size], image_size=image_size, patch_size=image_size // grid)
    model = ViTMAEForPreTraining(config).eval()
    # transformers 5.23 leaves these at zero, and without positions nothing could be learnt
    embeddings, decoder = model.vit.embeddings, model.decoder
    with torch.no_grad():
        embeddings.position_embeddings.copy_(_positions(grid, model.config.hidden_size))
        decoder.decoder_pos_embed.copy_(_positions(grid, model.config.decoder_hidden_size))
        nn.init.normal_(embeddings.cls_token, std=0.02)
        nn.init.normal_(decoder.mask_token, std=0.02)
        for module in model.modules():  # the authors' initialisation: Xavier, with the patch projection as linear
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        nn.init.xavier_uniform_(embeddings.patch_embeddings.projection.weight.flatten(1))
    return model


def save_autoencoder(path: Any, model: nn.Module) -> None:
    """Write the weights, with the configuration needed to rebuild the model."""
    save_weights(path, {"config": model.config.to_dict()}, model)


def load_autoencoder(path: str | Path) -> nn.Module:
    """A masked autoencoder with its decoder, in eval mode on the CPU, from any of three formats.

    - the authors' checkpoint, {"model": weights}, such as mae_visualize_vit_large.pth (224 px, 16 px patches);
    - a folder as the transformers library writes it: config.json and model.safetensors;
    - a file of `save_autoencoder`.

    Raises WeightsError where the file is missing, truncated or of another kind, or lacks weights (such as those of the
    decoder), and for models trained on normalised patches (norm_pix_loss), which cannot reproduce colours.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise WeightsError(
            f"There are no weights at {path}: put the file there, or give its url to have it downloaded."
        )
    if path.is_dir():
        return _from_folder(path)
    kept = read_weights(path)
    if not isinstance(kept, dict):
        raise WeightsError(f"{path} holds a {type(kept).__name__}, not the weights of a masked autoencoder.")
    if "config" in kept and "state" in kept:
        return _filled(ViTMAEConfig(**kept["config"]), kept["state"], path)
    state = kept.get("model", kept)
    if getattr(kept.get("args"), "norm_pix_loss", False):
        raise WeightsError(NO_COLOURS.format(path))
    if isinstance(state, dict) and "decoder.decoder_embed.weight" in state:
        raise WeightsError(f"{path} is one file of a transformers folder: name the folder, with its config.json.")
    from timm.models import clean_state_dict

    state = clean_state_dict(state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or "decoder_embed.weight" not in state:
        has = "the encoder alone" if isinstance(state, dict) and "blocks.0.attn.qkv.weight" in state else "no decoder"
        raise WeightsError(
            f"{path} holds {has}: the pixel step needs encoder and decoder, as in the authors' "
            "mae_visualize_vit_large.pth (the files named mae_pretrain_* lack the decoder)."
        )
    return _filled(_authors_config(state, path), _from_authors(state), path)


def grid_of(model: nn.Module) -> int:
    """Patches a side."""
    return model.config.image_size // model.config.patch_size


def reconstruct(
    model: nn.Module, images: Tensor, dropped: Tensor, *, resampled: bool = False, batch_size: int = 64
) -> Tensor:
    """Reconstruct the dropped patches from the visible ones: uint8[N, 3, H, W] (DQ, section 3.3).

    Visible patches keep their pixels bit for bit. Images of another size than the model's are resized for it (bilinear,
    antialiased), and its output is resized back. With `resampled` the visible patches, too, are taken from the resized
    image, as in DQ's code; at the model's own size that changes nothing.

    model: from this module. images: uint8[N, 3, H, W], H = W. dropped: bool[N, g, g] with the same number of True in
    each image, g the model's patches a side. Computed on the model's device, in eval mode; the model is left as it was.
    The result is on the images' device. Raises TypeError unless both are tensors, ValueError for other images or masks,
    and for a batch_size below 1.
    """
    check_images(images=images)
    if not images.shape[2] == images.shape[3] > 0:
        raise ValueError(f"images must be square, got {kind_of(images)}")
    check_masks(dropped=dropped)
    check_positive(batch_size, "batch_size")
    side = model.config.image_size
    grid = grid_of(model)
    if dropped.shape[1:] != (grid, grid):
        raise ValueError(f"the model has {grid} × {grid} patches, the masks {list(dropped.shape[1:])}")
    check_same_number(images=images, masks=dropped)
    counts = dropped.flatten(1).sum(1)
    if not bool((counts == counts[:1]).all()):
        raise ValueError("every image must drop the same number of patches")
    count, total = int(counts[0]) if len(counts) else 0, grid * grid
    if count == 0:
        return images.clone()
    device = next(model.parameters()).device
    resize = partial(interpolate, mode="bilinear", align_corners=False, antialias=True)
    order = torch.arange(total, device=device)
    out = torch.empty_like(images)  # outside inference mode: what is made within it cannot be changed in place
    # transformers keeps int(total·(1 − mask_ratio)) patches; the half guards against rounding.
    with _hiding(model, (count - 0.5) / total), torch.inference_mode():
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            batch = normalise(images[part].to(device))
            height, visible = batch.shape[2], images[part]
            if height != side:
                batch = resize(batch, (side, side))
            noise = dropped[part].to(device).flatten(1) * total + order  # the lowest stay visible
            drawn = model.unpatchify(model(batch, noise=noise).logits)
            if height != side:
                drawn = resize(drawn, (height, height))
                if resampled:
                    visible = denormalise(resize(batch, (height, height))).to(images.device)
            out[part] = paste(visible, denormalise(drawn).to(images.device), dropped[part].to(images.device))
    return out


@contextmanager
def _hiding(model: nn.Module, ratio: float) -> Iterator[None]:
    """Within the context the model is in eval mode and hides this share of the patches; then both are restored."""
    before, model.config.mask_ratio = model.config.mask_ratio, ratio
    try:
        with evaluating(model):
            yield
    finally:
        model.config.mask_ratio = before


def _positions(grid: int, width: int) -> Tensor:
    """Fixed sine and cosine positions, zeros for the class token: float32[1 + grid², width]."""
    rows_first = build_2d_sinusoidal_position_embedding(grid, grid, width, cls_token=True)
    return rows_first.roll(width // 2, dims=1)  # the authors have columns before rows


def _config(width: int, depth: int, heads: int, d_width: int, d_depth: int, d_heads: int, **geometry: int) -> Any:
    return ViTMAEConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        decoder_hidden_size=d_width,
        decoder_num_hidden_layers=d_depth,
        decoder_num_attention_heads=d_heads,
        decoder_intermediate_size=4 * d_width,
        layer_norm_eps=1e-6,  # the authors'; transformers has 1e-12
        **geometry,
    )


def _from_folder(path: Path) -> nn.Module:
    try:
        model, about = ViTMAEForPreTraining.from_pretrained(path, local_files_only=True, output_loading_info=True)
    except Exception as error:  # many kinds, by what is wrong with which file
        require_working(error, path)
        first = str(error).strip().split("\n")[0][:200]
        raise WeightsError(f"{path} is not a masked autoencoder as transformers keeps one ({first}).") from error
    if model.config.norm_pix_loss:
        raise WeightsError(NO_COLOURS.format(path))
    if missing := sorted(about["missing_keys"]):
        raise WeightsError(f"{path} lacks {len(missing)} weights of a masked autoencoder, such as {missing[0]}.")
    require_values(path, model, model.state_dict())
    return model.eval()


def _filled(config: ViTMAEConfig, state: dict[str, Tensor], path: Path) -> nn.Module:
    model = ViTMAEForPreTraining(config).eval()
    fill(model, state, path, "a masked autoencoder of its size")
    return model


def _authors_config(state: dict[str, Tensor], path: Path) -> Any:
    """The configuration of an authors' checkpoint, from its shapes; the number of heads follows from the size."""
    try:
        width, depth = state["cls_token"].shape[-1], _depth(state, "blocks")
        d_width, d_depth = state["mask_token"].shape[-1], _depth(state, "decoder_blocks")
        patch = state["patch_embed.proj.weight"].shape[-1]
        grid = round((state["pos_embed"].shape[1] - 1) ** 0.5)
    except KeyError as error:
        raise WeightsError(f"{path} lacks the weight {error} of a masked autoencoder.") from None
    heads = {(w, d): (h, dh) for w, d, h, _, _, dh in SIZES.values()}.get((width, depth))
    if heads is None:
        raise WeightsError(f"{path} holds an encoder of width {width} and depth {depth}, which is none of MAE's sizes.")
    return _config(width, depth, heads[0], d_width, d_depth, heads[1], image_size=grid * patch, patch_size=patch)


def _depth(state: dict[str, Tensor], blocks: str) -> int:
    return 1 + max((int(key.split(".")[1]) for key in state if key.startswith(f"{blocks}.")), default=-1)


NAMES = [  # the authors' names, in order, to transformers'
    (r"^decoder_pos_embed$", "decoder.decoder_pos_embed"),
    (r"^mask_token$", "decoder.mask_token"),
    (r"^(decoder_(?:embed|norm|pred))\.", r"decoder.\1."),
    (r"^decoder_blocks\.", "decoder.decoder_layers."),
    (r"^blocks\.", "vit.layers."),
    (r"^cls_token$", "vit.embeddings.cls_token"),
    (r"^pos_embed$", "vit.embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "vit.embeddings.patch_embeddings.projection."),
    (r"^norm\.", "vit.layernorm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
]


def _from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights under transformers' names; query, key and value apart."""
    out = {}
    for key, value in state.items():
        name = key
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        if ".attn.qkv." in name:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                out[name.replace(".attn.qkv.", f".attention.{letter}_proj.")] = part
        else:
            out[name] = value
    return out
