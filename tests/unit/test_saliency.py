import threading

import numpy as np
import pytest
import torch
from torch import nn

from dqv2 import forward_pass, normalise, saliency, write_pass
from dqv2.data.lazy import LazyImages
from dqv2.pixel.importance import grad_cam_pp
from dqv2.semantic.recipe import make_recipe
from dqv2.semantic.saliency import evaluating
from dqv2.train.models import Network, build_model


class Tiny(nn.Module):
    """A network with timm's two methods."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.BatchNorm2d(5), nn.Dropout(0.5))
        self.fc = nn.Linear(5, 4)
        self.passes = 0

    def forward_features(self, x):
        self.passes += len(x)
        return self.body(x)

    def forward_head(self, x, pre_logits=False):
        x = x.mean((2, 3))
        return x if pre_logits else self.fc(x)


class Pooled(nn.Module):
    """A network as torchvision builds them: its map is only seen by its pool; an earlier block pools too."""

    def __init__(self):
        super().__init__()
        self.squeeze, self.conv = nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 5, 3)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(5, 4)

    def forward(self, x):
        return self.fc(self.avgpool(self.conv(x * self.squeeze(x))).flatten(1))


@pytest.fixture
def images():
    g = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (7, 3, 9, 9), dtype=torch.uint8, generator=g)


def test_normalise_matches_the_definition(images):
    x = normalise(images)
    assert x.dtype == torch.float32
    expected = (images.double() / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    torch.testing.assert_close(x.double(), expected.double(), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="uint8"):
        normalise(images.float())


def test_saliency_is_the_channel_sum_of_the_map_in_eval_mode(images):
    model = Tiny().train()
    model.body[1].eval()
    before = model.body[1].running_mean.clone()
    maps = saliency(model, images, batch_size=3)
    assert [model.training, model.body.training, model.body[1].training] == [True, True, False]
    assert torch.equal(before, model.body[1].running_mean)
    assert maps.dtype == torch.float32
    assert not maps.is_inference()
    with torch.no_grad():
        expected = model.eval().body(normalise(images)).sum(1)
    torch.testing.assert_close(maps, expected)
    torch.testing.assert_close(saliency(model, normalise(images)), expected)


def test_saliency_sees_the_input_of_the_last_global_pool(images):
    model = Pooled()
    x = normalise(images)
    with torch.no_grad():
        expected = model.conv(x * model.squeeze(x)).sum(1)
    torch.testing.assert_close(saliency(model, images), expected)
    assert not model.avgpool._forward_pre_hooks


def test_transformer_tokens_go_back_on_their_grid(images):
    class Tokens(nn.Module):
        num_prefix_tokens = 1

        def __init__(self):
            super().__init__()
            self.patch_embed = nn.Conv2d(3, 4, 3, stride=3)
            self.patch_embed.grid_size = (3, 3)

        def forward_features(self, x):
            tokens = self.patch_embed(x).flatten(2).transpose(1, 2)
            return torch.cat([torch.full_like(tokens[:, :1], 99.0), tokens], dim=1)

    model = Tokens()
    with torch.no_grad():
        expected = model.patch_embed(normalise(images)).sum(1)
    torch.testing.assert_close(saliency(model, images), expected)


def test_models_without_a_map_are_refused(images):
    with pytest.raises(TypeError, match="neither forward_features nor a global AdaptiveAvgPool2d"):
        saliency(nn.Conv2d(3, 2, 1), images)
    with pytest.raises(TypeError, match="forward_head"):
        forward_pass(Pooled(), images)
    vector = Tiny()
    vector.forward_features = lambda x: x.mean((2, 3))
    with pytest.raises(TypeError, match="not a map"):
        saliency(vector, images)
    with pytest.raises(ValueError, match="at least 1"):
        saliency(Tiny(), images[:0])


def test_forward_pass_gives_everything_from_one_pass(images, tmp_path):
    model = Tiny().train()
    out = forward_pass(model, images, batch_size=3)
    assert model.passes == len(images)
    assert model.training
    assert [t.dtype for t in out] == [torch.float32] * 3
    assert [list(t.shape) for t in out] == [[7, 5], [7, 4], [7, 4, 4]]
    with torch.no_grad():
        features = model.eval().forward_features(normalise(images))
        torch.testing.assert_close(out.embedding, features.mean((2, 3)))
        torch.testing.assert_close(out.logits, model.fc(features.mean((2, 3))))
    torch.testing.assert_close(out.saliency, saliency(model, images))
    assert not any(values.is_inference() for values in out)
    np.save(tmp_path / "images.npy", images.numpy())
    packed = np.load(tmp_path / "images.npy", mmap_mode="r")
    for a, b in zip(out, forward_pass(model, packed, batch_size=3), strict=True):
        assert torch.equal(a, b)


def test_a_written_pass_is_what_np_save_would_write(images, tmp_path):
    model = Tiny()
    out = forward_pass(model, images, batch_size=3)
    files = {"saliency": tmp_path / "s.npy", "logits": tmp_path / "new" / "l.npy"}
    write_pass(model, images, files, batch_size=3)
    for name, path in files.items():
        np.save(tmp_path / "expected.npy", getattr(out, name).numpy())
        assert path.read_bytes() == (tmp_path / "expected.npy").read_bytes()
    assert not (tmp_path / "embedding.npy").exists()


def test_a_pass_that_fails_leaves_no_file(images, tmp_path):
    class Breaks(Tiny):
        def forward_features(self, x):
            if self.passes >= 3:
                raise OSError("the disk is gone")
            return super().forward_features(x)

    (tmp_path / "old.npy").write_bytes(b"older")
    with pytest.raises(OSError, match="disk is gone"):
        write_pass(Breaks(), images, {"saliency": tmp_path / "old.npy", "logits": tmp_path / "l.npy"}, batch_size=3)
    assert [path.name for path in tmp_path.iterdir()] == ["old.npy"]
    assert (tmp_path / "old.npy").read_bytes() == b"older"


def test_bf16_is_near_float32_and_off_unless_asked_for(images):
    model = Tiny()
    exact, rough = (forward_pass(model, images, bf16=bf16) for bf16 in (False, True))
    assert all(values.dtype == torch.float32 for values in rough)
    for a, b in zip(exact, rough, strict=True):
        torch.testing.assert_close(a, b, rtol=0.1, atol=0.1)
    assert not torch.equal(exact.embedding, rough.embedding)


def test_too_little_memory_names_the_batch(images):
    class Large(Tiny):
        def forward_features(self, x):
            raise torch.cuda.OutOfMemoryError("out of memory")

    with pytest.raises(RuntimeError, match="7 images of 9x9 at once: lower batch_size"):
        forward_pass(Large(), images)


def test_composed_images_are_read_by_the_slice(images):
    draws = torch.Generator().manual_seed(0)
    masks = (torch.rand(7, 9, generator=draws).argsort(1) < 4).view(7, 3, 3)
    recipe = make_recipe(masks, generator=draws)
    originals = images.numpy()
    composed = recipe.images(originals, np.arange(7))
    asked = []
    lazy = LazyImages(originals, lambda rows: asked.append(len(rows)) or recipe.images(originals, rows))
    assert (len(lazy), lazy.shape) == (7, composed.shape)
    assert np.array_equal(lazy[2:5], composed[2:5])
    assert asked == [3]
    for a, b in zip(forward_pass(model := Tiny(), lazy, batch_size=3), forward_pass(model, composed), strict=True):
        torch.testing.assert_close(a, b)


def test_a_map_of_nothing_but_rounding_is_warned_of(monkeypatch, caplog):
    """A ViT ends in a layer normalisation, whose channels sum to zero until its weights are trained."""
    monkeypatch.setattr("dqv2.semantic.saliency.logger.propagate", True)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    args = {"img_size": 32, "patch_size": 8, "depth": 1}
    vit = build_model(Network("vit_tiny_patch16_224", 3, 32, args=args), seed=0, purpose="t")
    for look in (saliency, forward_pass):
        caplog.clear()
        look(vit, images)
        assert "sum to zero but for rounding" in caplog.text
    with torch.no_grad():
        vit.norm.weight += 0.01 * torch.rand(192, generator=torch.Generator().manual_seed(0))
    caplog.clear()
    saliency(vit, images)
    saliency(build_model(Network("resnet8", 3, 32), seed=0, purpose="t"), images)
    assert not caplog.text


def test_no_warning_where_no_mask_is_wanted_or_a_map_is_empty(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr("dqv2.semantic.saliency.logger.propagate", True)
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    args = {"img_size": 32, "patch_size": 8, "depth": 1}
    vit = build_model(Network("vit_tiny_patch16_224", 3, 32, args=args), seed=0, purpose="t")
    write_pass(vit, images, {"embedding": tmp_path / "embedding.npy"})
    tiny = Tiny()
    with torch.no_grad():
        tiny.body[1].weight.zero_()
    saliency(tiny, images)
    assert not caplog.text
    for precision in (torch.bfloat16, torch.float16):
        caplog.clear()
        saliency(vit.to(precision), images)
        assert "sum to zero but for rounding" in caplog.text


def test_one_model_in_several_threads(images):
    """The last to leave sets it back to train mode, and another's pass is not taken for one's own."""
    model = Pooled().train()
    first, second = evaluating(model), evaluating(model)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(module.training for module in model.modules())
    second.__exit__(None, None, None)
    assert all(module.training for module in model.modules())

    class Shared(Pooled):
        def forward(self, x):
            found = super().forward(x)
            if threading.current_thread() is threading.main_thread():
                other = threading.Thread(target=self, args=[torch.zeros_like(x)])
                other.start()
                other.join()
            return found

    shared = Shared()
    shared.load_state_dict(model.state_dict())
    assert torch.equal(saliency(shared, images), saliency(model, images))


@pytest.mark.parametrize("build", [Tiny, Pooled])
def test_a_map_does_not_follow_an_autocast_around_it(images, build):
    model = build()
    wanted = saliency(model, images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(saliency(model, images), wanted)
        if build is Tiny:
            assert torch.equal(forward_pass(model, images).saliency, wanted)


class Fewer:
    """Says that it has more images, or larger ones, than it gives."""

    shape = (7, 3, 9, 9)

    def __init__(self, images, rows, side):
        self.images, self.rows, self.side = images[:, :, :side], rows, side

    def __len__(self):
        return 7

    def __getitem__(self, where):
        return self.images[: self.rows][where]


@pytest.mark.parametrize("kind", [lambda images: images, torch.Tensor.numpy])
@pytest.mark.parametrize(("rows", "side"), [(6, 9), (3, 9), (7, 8)])
def test_images_that_are_not_all_there_are_refused(images, tmp_path, kind, rows, side):
    given = Fewer(kind(images), rows, side)
    for look in (saliency, forward_pass, lambda *args, **how: write_pass(*args, {"logits": tmp_path / "l.npy"}, **how)):
        with pytest.raises(ValueError, match=r"should be of shape .*: Fewer does not give what its length and shape"):
            look(Tiny(), given, batch_size=3)
    assert not any(tmp_path.iterdir())


def test_images_without_three_channels_and_two_fields_in_one_file_are_refused(images, tmp_path):
    for grey in (images[:, :1], normalise(images)[:, :1]):
        for look in (saliency, forward_pass, grad_cam_pp):
            with pytest.raises(ValueError, match=r"images must be \[N, 3, H, W\].*got shape \[7, 1, 9, 9\]"):
                look(Tiny(), grey)
    files = {"logits": tmp_path / "a.npy", "saliency": str(tmp_path / "a.npy")}
    with pytest.raises(ValueError, match="every field needs a file of its own"):
        write_pass(Tiny(), images, files)
