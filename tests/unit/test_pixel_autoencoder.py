"""Masked autoencoders: the authors' format, wrong files, reconstruction, pre-training."""

import argparse
import math
import os
import signal
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import nn
from transformers import ViTMAEForPreTraining

from dqv2.data.digits import make_digits
from dqv2.inputs import denormalise, normalise
from dqv2.pixel.autoencoder import (
    SIZES,
    _authors_config,
    _from_authors,
    build_autoencoder,
    load_autoencoder,
    reconstruct,
    save_autoencoder,
)
from dqv2.pixel.patches import dropped_patches
from dqv2.pixel.pretrain import Pretraining, pretrain
from dqv2.pixel.step import mae_step
from dqv2.runtime.resume import Resume
from dqv2.runtime.seeding import seeded
from dqv2.runtime.stop import Stopped, stop_signals
from dqv2.weights import WeightsError, checksum_of

CPU = torch.device("cpu")


def authors_state(size, *, grid=14, patch=16, device="cpu"):
    """Random weights with the names and shapes of the authors' checkpoints (mae_visualize_vit_*.pth)."""
    width, depth, _, d_width, d_depth, _ = SIZES[size]
    draws = torch.Generator().manual_seed(0)

    def weight(*shape):
        return torch.empty(shape, device=device) if device == "meta" else 0.1 * torch.randn(shape, generator=draws)

    def block(prefix, w):
        shapes = {"norm1.weight": (w,), "norm1.bias": (w,), "attn.qkv.weight": (3 * w, w), "attn.qkv.bias": (3 * w,)}
        shapes |= {"attn.proj.weight": (w, w), "attn.proj.bias": (w,), "norm2.weight": (w,), "norm2.bias": (w,)}
        shapes |= {"mlp.fc1.weight": (4 * w, w), "mlp.fc1.bias": (4 * w,), "mlp.fc2.weight": (w, 4 * w)}
        shapes |= {"mlp.fc2.bias": (w,)}
        return {f"{prefix}.{name}": weight(*shape) for name, shape in shapes.items()}

    state = {"cls_token": weight(1, 1, width), "pos_embed": weight(1, 1 + grid**2, width)}
    state |= {"mask_token": weight(1, 1, d_width), "decoder_pos_embed": weight(1, 1 + grid**2, d_width)}
    state |= {"patch_embed.proj.weight": weight(width, 3, patch, patch), "patch_embed.proj.bias": weight(width)}
    for i in range(depth):
        state |= block(f"blocks.{i}", width)
    state |= {"norm.weight": weight(width), "norm.bias": weight(width)}
    state |= {"decoder_embed.weight": weight(d_width, width), "decoder_embed.bias": weight(d_width)}
    for i in range(d_depth):
        state |= block(f"decoder_blocks.{i}", d_width)
    state |= {"decoder_norm.weight": weight(d_width), "decoder_norm.bias": weight(d_width)}
    state |= {"decoder_pred.weight": weight(3 * patch**2, d_width), "decoder_pred.bias": weight(3 * patch**2)}
    return state


def run_as_the_authors_do(state, size, images, dropped):
    """The forward pass of models_mae.py, on timm's blocks: normalised images to predicted patches."""
    width, depth, heads, d_width, d_depth, d_heads = SIZES[size]
    patch = state["patch_embed.proj.weight"].shape[-1]

    def blocks(prefix, count, w, h):
        stack = nn.Sequential(
            *(Block(w, h, 4, qkv_bias=True, norm_layer=partial(nn.LayerNorm, eps=1e-6)) for _ in range(count))
        )
        stack.load_state_dict(
            {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        )
        return stack.eval()

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=patch)
    x = x.flatten(2).transpose(1, 2) + state["pos_embed"][:, 1:]
    out = []
    for tokens, gone in zip(x, dropped.flatten(1), strict=True):
        visible = torch.cat([(state["cls_token"] + state["pos_embed"][:, :1])[0], tokens[~gone]])[None]
        code = norm(blocks("blocks.", depth, width, heads)(visible), "norm")
        code = F.linear(code, state["decoder_embed.weight"], state["decoder_embed.bias"])[0]
        full = state["mask_token"][0].expand(len(tokens), -1).clone()
        full[~gone] = code[1:]
        full = torch.cat([code[:1], full])[None] + state["decoder_pos_embed"]
        full = norm(blocks("decoder_blocks.", d_depth, d_width, d_heads)(full), "decoder_norm")
        out.append(F.linear(full[0, 1:], state["decoder_pred.weight"], state["decoder_pred.bias"]))
    return torch.stack(out)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A checkpoint in the authors' format, of the small size that a test can afford."""
    path = tmp_path_factory.mktemp("weights") / "mae_visualize_vit_tiny.pth"
    state = authors_state("tiny", grid=4, patch=8)
    torch.save({"model": state}, path)
    return path, state


@torch.inference_mode()
def test_the_authors_format_gives_what_the_authors_code_gives(published):
    path, state = published
    model = load_autoencoder(path)
    images = torch.randint(0, 256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    dropped = dropped_patches(torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(2)), 4, 0.25)
    predicted = run_as_the_authors_do(state, "tiny", normalise(images), dropped)
    # [N, L, p·p·3] to pixels, as models_mae.unpatchify
    pixels = torch.einsum("nhwpqc->nchpwq", predicted.reshape(3, 4, 4, 8, 8, 3)).reshape(3, 3, 32, 32)
    where = dropped.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    expected = torch.where(where, denormalise(pixels), images)
    ours = reconstruct(model, images, dropped)
    assert (ours.int() - expected.int()).abs().max() <= 1, "up to rounding"
    assert torch.equal(ours[(~where).expand_as(ours)], images[(~where).expand_as(images)])
    assert not torch.equal(ours, images)


@pytest.mark.parametrize("size", ["base", "large", "huge"])
def test_published_sizes_load_without_missing_keys(size):
    """On the meta device: names and shapes alone, since ViT-Huge has 2.6 GB of weights."""
    patch = 14 if size == "huge" else 16
    state = authors_state(size, grid=224 // patch, patch=patch, device="meta")
    with torch.device("meta"):
        model = ViTMAEForPreTraining(_authors_config(state, None))
    found = model.load_state_dict(_from_authors(state), assign=True)
    assert not found.missing_keys
    assert not found.unexpected_keys
    assert (model.config.image_size, model.config.patch_size) == (224, patch)


def test_a_folder_of_transformers_loads(tmp_path):
    with seeded(0, "test"):
        model = build_autoencoder("mini", image_size=32, grid=8)
    model.save_pretrained(tmp_path / "mae")
    read = load_autoencoder(tmp_path / "mae")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in read.state_dict().items())
    assert checksum_of(tmp_path / "mae") != checksum_of(tmp_path / "mae" / "config.json")


def test_our_own_file_loads(tmp_path):
    with seeded(0, "test"):
        model = build_autoencoder("mini", image_size=32, grid=8)
    save_autoencoder(tmp_path / "model.pt", model)
    read = load_autoencoder(tmp_path / "model.pt")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in read.state_dict().items())


def spoil(state, how):
    if how == "a decoder weight is missing":
        return {key: value for key, value in state.items() if key != "decoder_blocks.1.mlp.fc2.bias"}
    if how == "the encoder alone":
        return {key: value for key, value in state.items() if not key.startswith(("decoder", "mask"))}
    if how == "another shape":
        return state | {"decoder_pred.weight": torch.zeros(5, 128)}
    if how == "another network":
        return {"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}
    return state | {"cls_token": torch.zeros(1, 1, 999)}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("a decoder weight is missing", "decoder_layers.1.mlp.fc2.bias"),
        ("the encoder alone", "encoder alone"),
        ("another shape", "does not fit"),
        ("another network", "no decoder"),
        ("an odd width", "none of MAE's sizes"),
    ],
)
def test_wrong_weights_are_refused_by_name(published, tmp_path, how, message):
    path = tmp_path / "wrong.pth"
    torch.save({"model": spoil(published[1], how)}, path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_autoencoder(path)
    assert "wrong.pth" in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused(published, tmp_path, keep):
    whole = published[0].read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(WeightsError, match="truncated" if keep else "is empty") as caught:
        load_autoencoder(path)
    assert "\n" not in str(caught.value)


def test_no_file_no_torch_file_and_no_dictionary(tmp_path):
    with pytest.raises(WeightsError, match="no weights at"):
        load_autoencoder(tmp_path / "nothing.pth")
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match="is text in HTML or XML, not weights"):
        load_autoencoder(tmp_path / "page.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(WeightsError, match="holds a Tensor"):
        load_autoencoder(tmp_path / "tensor.pth")
    with pytest.raises(WeightsError, match="not a masked autoencoder"):
        load_autoencoder(tmp_path)


@pytest.fixture(scope="module")
def digits():
    split = make_digits(train=96, validation=10, test=10)["train"]
    return torch.from_numpy(np.stack([image for *_, image in split.items()]))


def test_a_training_checkpoint_of_the_authors_loads(published, tmp_path):
    """It holds the command line beside the weights; anything else than data is refused, and not called cut off."""
    torch.save({"model": published[1], "args": argparse.Namespace(lr=0.1), "epoch": 3}, tmp_path / "training.pth")
    assert load_autoencoder(tmp_path / "training.pth").config.patch_size == 8
    torch.save({"model": published[1], "hook": Resume}, tmp_path / "code.pth")
    with pytest.raises(WeightsError, match="more than weights"):
        load_autoencoder(tmp_path / "code.pth")
    shared = {f"module.{name}": value for name, value in published[1].items()}
    torch.save({"model": shared}, tmp_path / "shared.pth")
    assert load_autoencoder(tmp_path / "shared.pth").config.patch_size == 8
    torch.save({"model": published[1], "args": argparse.Namespace(norm_pix_loss=True)}, tmp_path / "normalised.pth")
    with pytest.raises(WeightsError, match=r"normalised\.pth was trained to draw normalised patches"):
        load_autoencoder(tmp_path / "normalised.pth")


def test_normalised_patches_are_refused(tmp_path):
    with seeded(0, "test"):
        model = build_autoencoder("mini", image_size=32, grid=8)
    model.config.norm_pix_loss = True
    model.save_pretrained(tmp_path / "mae")
    with pytest.raises(WeightsError, match="norm_pix_loss"):
        load_autoencoder(tmp_path / "mae")
    with pytest.raises(WeightsError, match=r"model\.safetensors is one file of a transformers folder: name the folder"):
        load_autoencoder(tmp_path / "mae/model.safetensors")


def test_images_of_another_size_are_resized_and_put_back(digits):
    with seeded(0, "test"):
        model = build_autoencoder("mini", image_size=56, grid=14)
    dropped = dropped_patches(torch.rand(4, 14, 14, generator=torch.Generator().manual_seed(0)), 14, 0.25)
    out = reconstruct(model, digits[:4], dropped)
    assert out.shape == digits[:4].shape
    changed = (out != digits[:4]).any(1).float().mean()
    assert 0.1 < changed < 0.35


def test_visible_patches_are_kept_or_what_comes_back_of_the_resized_image(digits):
    model = build_autoencoder("mini", image_size=64, grid=8)
    dropped = torch.zeros(4, 8, 8, dtype=torch.bool)
    dropped[:, 0] = True
    kept, resampled = (reconstruct(model, digits[:4], dropped, resampled=how) for how in (False, True))
    assert torch.equal(kept[..., 4:, :], digits[:4][..., 4:, :])
    assert torch.equal(kept[..., :4, :], resampled[..., :4, :])
    there = F.interpolate(digits[:4].float(), (64, 64), mode="bilinear", antialias=True)
    back = F.interpolate(there, (32, 32), mode="bilinear", antialias=True)[..., 4:, :]
    assert (resampled[..., 4:, :].float() - back).abs().max() <= 1
    assert not torch.equal(resampled, kept)
    own = build_autoencoder("mini", image_size=32, grid=8)
    assert torch.equal(*(reconstruct(own, digits[:4], dropped, resampled=how) for how in (False, True)))


def test_reconstruction_does_not_depend_on_the_batch(digits):
    with seeded(0, "test"):
        model = build_autoencoder("mini", image_size=32, grid=8)
    dropped = dropped_patches(torch.rand(9, 8, 8, generator=torch.Generator().manual_seed(0)), 8, 0.25)
    whole = reconstruct(model, digits[:9], dropped).int()
    parts = reconstruct(model, digits[:9], dropped, batch_size=2).int()
    assert (whole - parts).abs().max() <= 1


def test_reconstruction_leaves_the_model_as_it_was_and_its_images_may_be_changed(digits):
    with seeded(0, "test"):
        model = build_autoencoder("mini", image_size=32, grid=8)
    model.vit.train()
    before = [module.training for module in model.modules()], model.config.to_dict()
    dropped = torch.zeros(2, 8, 8, dtype=torch.bool)
    dropped[:, 0] = True
    for masks in (dropped, torch.zeros_like(dropped)):
        found = reconstruct(model, digits[:2], masks)
        found[0] = 0
    assert ([module.training for module in model.modules()], model.config.to_dict()) == before
    assert reconstruct(model, digits[:0], dropped[:0]).shape == (0, 3, 32, 32)


def test_wrong_masks_are_refused(digits):
    with seeded(0, "test"):
        model = build_autoencoder("mini", image_size=32, grid=8)
    with pytest.raises(ValueError, match="8 × 8 patches"):
        reconstruct(model, digits[:2], torch.zeros(2, 4, 4, dtype=torch.bool))
    uneven = torch.zeros(2, 8, 8, dtype=torch.bool)
    uneven[0, 0, 0] = True
    with pytest.raises(ValueError, match="same number"):
        reconstruct(model, digits[:2], uneven)
    with pytest.raises(ValueError, match="2 images and 1 masks"):
        reconstruct(model, digits[:2], uneven[:1])
    for images, dropped, size, message in [
        (digits[:2, :, :16], uneven, 64, "images must be square"),
        (digits[:2].float(), uneven, 64, "images must be uint8"),
        (digits[:2], uneven.int(), 64, "dropped must be bool"),
        (digits[:2], uneven, -1, "batch_size must be an integer"),
    ]:
        with pytest.raises(ValueError, match=message):
            reconstruct(model, images, dropped, batch_size=size)
    with pytest.raises(ValueError, match="size must be one of mini, tiny, base, large, huge, got 'small'"):
        build_autoencoder("small", image_size=32, grid=8)
    with pytest.raises(ValueError, match="do not divide"):
        build_autoencoder("mini", image_size=32, grid=7)


def test_the_step_keeps_what_matters_and_is_whole(digits):
    with seeded(0, "test"):
        model = build_autoencoder("mini", image_size=32, grid=8)
    importance = torch.rand(5, 4, 4, generator=torch.Generator().manual_seed(0))
    step = mae_step(digits[:5], importance, 0.25, model, weights="abc")
    assert step.replaced == 0.25
    assert (step.partner == -1).all()
    assert (step.share, step.weights) == (1.0, "abc")


def test_pretraining_learns_to_draw_from_the_surroundings(digits):
    """After a short training the hidden patches are drawn better than by each image's own mean colour."""
    with seeded(0, "test"):
        model = build_autoencoder("mini", image_size=16, grid=4)
    images = F.interpolate(digits[:32].float(), (16, 16), mode="area").round().to(torch.uint8)
    hyperparameters = Pretraining(epochs=100, batch_size=16, mask_ratio=0.5, learning_rate=4e-3, flip=False)
    dropped = dropped_patches(torch.rand(len(images), 4, 4, generator=torch.Generator().manual_seed(0)), 4, 0.25)
    where = dropped.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None].expand_as(images)
    with torch.inference_mode():  # it computes gradients all the same
        trained = pretrain(model, images, hyperparameters, seed=0, device=CPU)
    drawn = reconstruct(model, images, dropped).float()
    truth = images.float()
    mean = truth.masked_fill(where, 0).sum((2, 3), keepdim=True) / (~where).sum((2, 3), keepdim=True)
    assert trained.seconds > 0
    assert (drawn - truth)[where].pow(2).mean() < 0.8 * (mean - truth)[where].pow(2).mean()


@pytest.mark.parametrize("at", [1, 5, 6, 9])
def test_a_pretraining_that_is_asked_to_stop_keeps_a_checkpoint_after_the_step(digits, tmp_path, at):
    """At the first step, within an epoch (of 3 steps), at its end and after the last step: the same weights."""
    hyperparameters, steps = Pretraining(epochs=3, batch_size=math.ceil(len(digits) / 3)), 0

    def trained(resume, number=None):
        with seeded(0, "test"):
            model = build_autoencoder("mini", image_size=32, grid=8)

        def count(*_):
            nonlocal steps
            steps += 1
            if number and steps == at:
                os.kill(os.getpid(), number)

        model.register_forward_hook(count)
        return pretrain(model, digits, hyperparameters, seed=0, device=CPU, resume=resume).loss, model.state_dict()

    loss, whole = trained(None)
    steps = 0
    with stop_signals(), pytest.raises(Stopped, match="SIGTERM"):
        trained(Resume(tmp_path, {}), signal.SIGTERM)
    assert steps == at
    again, weights = trained(Resume(tmp_path, {}))
    assert steps == 9, "no step was done twice"
    assert again == loss
    assert all(torch.equal(value, whole[name]) for name, value in weights.items())


def test_a_pretraining_that_was_cut_off_ends_in_the_same_weights(digits, tmp_path):
    hyperparameters = Pretraining(epochs=3, batch_size=32)

    def trained(resume, epochs=3, **options):
        with seeded(0, "test"):
            model = build_autoencoder("mini", image_size=32, grid=8)
        pretrain(model, digits, hyperparameters, seed=0, device=CPU, resume=resume, **options)
        return model.state_dict()

    whole = trained(None)

    class Cut(Exception):
        pass

    class Once(Resume):
        def save(self, state):
            super().save(state)
            raise Cut

    with pytest.raises(Cut):
        trained(Once(tmp_path, {}), checkpoint_seconds=0)
    again = trained(Resume(tmp_path, {}))
    assert all(torch.equal(value, whole[name]) for name, value in again.items())
