"""The library's functions in people's hands: arrays and lists where tensors are meant, and a sentence for the rest."""

import numpy as np
import pytest
import torch

import dqv2
from dqv2.inputs import _statistics
from dqv2.pixel.patches import cutmix_boxes, dropped_patches, paste
from dqv2.select.baselines.class_adaptive import sample_class_adaptive
from dqv2.select.baselines.gradient import craig_weights, gradmatch_weights
from dqv2.select.coreset import mix
from dqv2.select.similarity import FeatureRows, GradientFeatures
from dqv2.semantic.recipe import make_recipe

N = 24
X = torch.rand(N, 5, generator=torch.Generator().manual_seed(0)) + 0.1
Y = torch.arange(N) % 3
BINS = torch.arange(N) % 4
LOGITS = torch.randn(N, 3, generator=torch.Generator().manual_seed(1))
IMAGES = torch.zeros(N, 3, 8, 8, dtype=torch.uint8)
MASKS = torch.eye(4, dtype=torch.bool).expand(N, 4, 4)


def draws():
    return torch.Generator().manual_seed(0)


BY_LABEL = {
    "graphcut_bins": lambda y: dqv2.graphcut_bins(X, y, n_bins=4),
    "herding_order": lambda y: dqv2.herding_order(X, y),
    "gradmatch": lambda y: dqv2.gradmatch(X, y, 0.5)[0],
    "score_bins": lambda y: dqv2.score_bins(X[:, 0], y),
    "uniform_bins": lambda y: dqv2.uniform_bins(N, labels=y),
    "sample_bins": lambda y: dqv2.sample_bins(BINS, y, 0.5, generator=draws()),
    "sample_ranked": lambda y: dqv2.sample_ranked(X[:, 0], y, 0.5),
    "last_layer_residual": lambda y: dqv2.last_layer_residual(LOGITS, y),
    "el2n_scores": lambda y: dqv2.el2n_scores(LOGITS, y),
}


@pytest.mark.parametrize("call", BY_LABEL.values(), ids=BY_LABEL)
def test_labels_may_be_a_dataset_s_list_or_an_array(call):
    want = call(Y)
    for labels in (Y.tolist(), tuple(Y.tolist()), Y.numpy(), Y.numpy().astype(np.int8), Y.numpy().astype(">i4")):
        assert torch.equal(call(labels), want)
    words = (["cat"] * N, np.array(["cat"] * N), (y for y in Y.tolist()))
    for labels in (Y.double().numpy(), Y + 0j, Y.tolist()[1:], *words):
        with pytest.raises(ValueError, match="labels"):
            call(labels)


@pytest.mark.parametrize("call", BY_LABEL.values(), ids=BY_LABEL)
def test_two_classes_may_be_true_and_false(call):
    assert torch.equal(call(Y == 1), call((Y == 1).long()))


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", ">f8"])
@pytest.mark.parametrize("labels", [Y, Y.sort().values], ids=["mixed", "sorted"])
def test_arrays_of_features_are_taken_of_any_width_and_byte_order(dtype, labels):
    array = X.numpy().astype(dtype)
    tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    for call in (dqv2.graphcut_bins, dqv2.graphcut_order, dqv2.herding_order):
        assert torch.equal(call(array, labels), call(tensor, labels))
    want, *found = (sample_class_adaptive(BINS, labels, x, 9, generator=draws()) for x in (tensor, array))
    assert torch.equal(*found, want)
    with pytest.raises(ValueError, match="at most 64 bits"):
        dqv2.graphcut_bins(X.numpy().astype(np.longdouble), labels)


@pytest.mark.parametrize("form", [torch.Tensor.numpy, torch.Tensor.tolist], ids=["array", "list"])
def test_bins_ranks_scores_and_budgets_may_be_arrays_or_lists(form):
    texture, importance = X[:, 1].double(), torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    calls = [
        (lambda bins: dqv2.sample_bins(bins, Y, 0.5, generator=draws()), BINS),
        (lambda bins: dqv2.sample_adaptive(bins, Y, form(importance), 0.5, generator=draws()), BINS),
        (lambda strata: dqv2.sample_strata(strata, 6, generator=draws()), BINS - 1),
        (lambda bins: sample_class_adaptive(bins, form(Y), X, 0.5, generator=draws()), BINS),
        (lambda rank: dqv2.sample_ranked(rank, Y, 0.5), BINS),
        (lambda scores: dqv2.score_bins(scores, Y), texture),
        (lambda scores: dqv2.rank_by_score(scores), texture),
        (lambda scores: dqv2.ccs_sample(scores, 0.5, generator=draws()), texture),
        (lambda bins: dqv2.bin_importance(bins, form(texture), X), BINS),
        (lambda budget: dqv2.herding_order(X, Y, budget=budget), torch.tensor([1, 2, 0])),
    ]
    for call, values in calls:
        assert torch.equal(call(form(values)), call(values))


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_whole_numbers_may_be_unsigned(dtype):
    importance = torch.tensor([1.0, 2.0, 3.0, 4.0])
    calls = [
        (lambda bins: dqv2.adaptive_bin_counts(bins, importance, 0.5), BINS),
        (lambda bins: dqv2.sample_adaptive(bins, Y, importance, 0.5, generator=draws()), BINS),
        (lambda bins: dqv2.bin_importance(bins, X[:, 0], X), BINS),
        (lambda bins: sample_class_adaptive(bins, Y, X, 0.5, generator=draws()), BINS),
        (lambda strata: dqv2.sample_strata(strata, 6, generator=draws()), BINS),
        (lambda rank: dqv2.sample_ranked(rank, Y, 0.5), BINS),
        (lambda scores: dqv2.score_bins(scores, Y), BINS),
        (lambda scores: dqv2.ccs_strata(scores, n_strata=3), BINS),
        (lambda budget: dqv2.herding_order(X, Y, budget=budget), torch.tensor([1, 2, 0])),
        (lambda chosen: craig_weights(X, Y, chosen), torch.tensor([3, 1, 5])),
        *((call, Y) for call in BY_LABEL.values()),
    ]
    for call, values in calls:
        found, want = call(values.to(dtype)), call(values)
        assert found.dtype == want.dtype
        assert torch.equal(found, want)
    with pytest.raises(ValueError, match="bins must be"):
        dqv2.sample_bins(torch.tensor([2**64 - 1, 0], dtype=torch.uint64), None, 1, generator=draws())


def test_masked_values_are_refused():
    values, labels = np.ma.masked_less(X.double().numpy(), 0.2), np.ma.masked_equal(Y.numpy(), 1)
    for call in (
        dqv2.graphcut_bins,
        dqv2.herding_order,
        lambda x: sample_class_adaptive(BINS, Y, x, 1, generator=None),
    ):
        with pytest.raises(ValueError, match=r"features must be .* with \d+ masked values"):
            call(values)
    for call in BY_LABEL.values():
        with pytest.raises(ValueError, match=r"labels must be .* with 8 masked values"):
            call(labels)
    unmasked = np.ma.masked_array(X.numpy())
    assert torch.equal(dqv2.graphcut_bins(unmasked, Y), dqv2.graphcut_bins(X, Y))


@pytest.mark.parametrize("wrong", [None, "a", -1, float("nan"), float("inf"), 2.5, True])
def test_a_limit_of_memory_is_a_number_of_bytes(wrong):
    orders = [dqv2.graphcut_order, dqv2.herding_order, dqv2.k_center_order, dqv2.craig_order, dqv2.gradmatch_order]
    for call in (
        *orders,
        dqv2.graphcut_bins,
        lambda x, y, **limit: dqv2.gradmatch(x, y, 3, **limit),
        lambda x, y, **limit: craig_weights(x, y, [3], **limit),
    ):
        with pytest.raises(ValueError, match="max_bytes must be a whole number of bytes, at least 0"):
            call(X, Y, max_bytes=wrong)


def test_what_draws_at_random_wants_a_generator_of_torch():
    calls = [
        lambda g: dqv2.sample_bins(BINS, Y, 0.5, generator=g),
        lambda g: dqv2.sample_random(N, 0.5, generator=g),
        lambda g: dqv2.sample_strata(BINS, 6, generator=g),
        lambda g: dqv2.random_bins(N, generator=g),
        lambda g: mix(N, originals=0.5, tobias=0.5, generator=g),
        lambda g: dqv2.random_saliency(N, 4, generator=g),
        lambda g: dqv2.shuffled(X, generator=g),
        lambda g: dqv2.choose_donors(N, generator=g),
        lambda g: dqv2.tobias_cells(MASKS, (torch.arange(N) + 1) % N, generator=g),
    ]
    for call in calls:
        call(draws())
        for wrong in (None, 0, np.random.default_rng(0)):
            with pytest.raises(TypeError, match=r"generator must be a torch\.Generator"):
                call(wrong)
    with pytest.raises(TypeError, match=r"generator must be a torch\.Generator"):
        dqv2.k_center_order(X, Y, generator=0)


def test_what_only_takes_tensors_says_so():
    for call, name in [
        (lambda: dqv2.foreground(X.numpy(), 4), "saliency"),
        (lambda: dqv2.object_saliency(MASKS.numpy()), "objects"),
        (lambda: dqv2.mask_iou(MASKS.numpy(), MASKS), "masks"),
        (lambda: dqv2.tobias(IMAGES.numpy(), MASKS, Y, generator=draws()), "images"),
        (lambda: dqv2.tobias_cells(MASKS, Y.tolist(), generator=draws()), "donors"),
        (lambda: dqv2.compose(IMAGES, IMAGES, np.zeros((N, 16), int)), "cells"),
        (lambda: dqv2.normalise(IMAGES.numpy()), "images"),
        (lambda: dqv2.shuffled(X.numpy(), generator=draws()), "saliency"),
    ]:
        with pytest.raises(TypeError, match=f"{name} must be a torch tensor"):
            call()
    with pytest.raises(TypeError, match="must be GradientFeatures, got Tensor"):
        dqv2.grand_scores(X)


def test_values_that_gave_a_wrong_answer_without_a_word_are_refused():
    for keep in (0, -3, N + 1):
        with pytest.raises(ValueError, match=f"keep = {keep} is a count"):
            dqv2.sample_strata(BINS, keep, generator=draws())
    assert len(dqv2.sample_strata(BINS, 0.25, generator=draws())) == N // 4
    with pytest.raises(ValueError, match="strata must hold integers"):
        dqv2.sample_strata(BINS + 0.5, 3, generator=draws())
    with pytest.raises(ValueError, match="drops all 24 items"):
        dqv2.ccs_strata(X[:, 0], prune_hardest=0.99)
    with pytest.raises(ValueError, match="importance must be one finite number"):
        dqv2.adaptive_bin_counts(BINS, torch.tensor([1e308, 1, 1, 1], dtype=torch.float64), 0.5)
    with pytest.raises(ValueError, match="number the bins without gaps"):
        dqv2.adaptive_bin_counts(torch.tensor([2**40, 0]), torch.ones(2), 1)
    with pytest.raises(ValueError, match="24 of 24 texture levels are NaN"):
        dqv2.bin_importance(BINS, X[:, 0] * float("nan"), X)
    with pytest.raises(ValueError, match="must be real numbers"):
        dqv2.sample_ranked(X[:, 0] * 1j, Y, 0.5)
    with pytest.raises(ValueError, match="dense tensor"):
        dqv2.graphcut_bins(X.to_sparse(), Y)
    with pytest.raises(ValueError, match="size must be an integer"):
        dqv2.foreground(torch.rand(2, 4, 4), 2.5)
    channels_last = torch.zeros(N, 8, 8, 3, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"uint8\[N, 3, H, W\]"):
        dqv2.compose(channels_last, channels_last, torch.zeros(N, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="must both be uint8"):
        dqv2.compose(IMAGES, IMAGES.float(), torch.zeros(N, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="cells must be int"):
        dqv2.compose(IMAGES, IMAGES, torch.zeros(N, 4, dtype=torch.bool))


POINT = torch.tensor(True)
STATISTICS = torch.full((2, 1, 3, 1, 1), 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dqv2.tobias(IMAGES, MASKS[:, :0, :0], Y, generator=draws()), "masks must be bool"),
        (lambda: dqv2.tobias(IMAGES, POINT, Y, generator=draws()), "masks must be bool"),
        (lambda: dqv2.tobias(IMAGES[:0].float(), MASKS[:0], Y[:0], generator=draws()), "images must be uint8"),
        (lambda: dqv2.tobias(IMAGES[..., :0, :0], MASKS, Y, generator=draws()), "4 cells do not fit a side of 0"),
        (lambda: dqv2.tobias_cells(MASKS[:, :0, :0], Y, generator=draws()), "masks must be bool"),
        (lambda: make_recipe(POINT, generator=draws()), "masks must be bool"),
        (lambda: dqv2.shuffled(torch.tensor(1.0), generator=draws()), "saliency must have a map for each"),
        (lambda: dqv2.mask_iou(MASKS[:, :3], MASKS), r"bool\[N, s, s\] and bool\[N, H, W\], got .*\[24, 3, 4\]"),
        (lambda: dqv2.compose(IMAGES, IMAGES, torch.zeros(N, 4) * 1j), "cells must be int"),
        (lambda: dqv2.normalise(IMAGES, (1, 2)), "statistics must be .* got int"),
        (lambda: dqv2.normalise(IMAGES, STATISTICS), r"statistics must be .* got .*\[2, 1, 3, 1, 1\]"),
        (lambda: dqv2.normalise(IMAGES, tuple(STATISTICS.flatten(1))), r"statistics must be .* got .*\[3\]"),
        (lambda: dqv2.normalise(IMAGES, tuple(STATISTICS.long())), "statistics must be .* got torch.int64"),
        (lambda: paste(IMAGES, IMAGES.float(), MASKS), "others must be uint8.* got torch.float32"),
        (lambda: paste(IMAGES, IMAGES[:1], MASKS), r"others must be uint8\[24, 3, 8, 8\] .* got .*\[1, 3, 8, 8\]"),
        (lambda: paste(IMAGES, 128, MASKS.byte()), "dropped must be bool"),
        (lambda: paste(IMAGES, 128, MASKS[:, :2]), "dropped must be bool"),
        (lambda: paste(IMAGES, 128, POINT), "dropped must be bool"),
        (lambda: paste(IMAGES.float(), 128, MASKS), "images must be uint8"),
    ],
)
def test_images_masks_and_statistics_of_another_kind_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int32])
def test_cells_may_be_of_any_integer_type(dtype):
    images = torch.randint(0, 256, (3, 3, 8, 8), generator=draws(), dtype=torch.uint8)
    cells = torch.arange(16).expand(3, 16).flip(1)
    want = dqv2.compose(images, images.flip(0), cells)
    assert torch.equal(dqv2.compose(images, images.flip(0), cells.to(dtype)), want)
    for wrong in (16, torch.iinfo(dtype).max):
        with pytest.raises(ValueError, match=r"cells must lie in -1\.\.15"):
            dqv2.compose(images, images, torch.full((3, 16), wrong, dtype=dtype))


def test_shares_and_counts_are_named():
    for share in (-0.1, 1.1, float("nan"), True, None, "0.5", torch.tensor(0.5)):
        for call, name in [
            (lambda share=share: dqv2.foreground(torch.rand(2, 4, 4), 4, fraction=share), "fraction"),
            (lambda share=share: dropped_patches(torch.rand(2, 4, 4), 4, share), "share"),
            (lambda share=share: cutmix_boxes(2, 8, share, generator=draws()), "share"),
        ]:
            with pytest.raises(ValueError, match=f"{name} must be a share in"):
                call()
    for count in (0, -1, 2.5, True, None):
        for call, name in [
            (lambda count=count: dqv2.centre_saliency(2, count), "size"),
            (lambda count=count: dqv2.centre_saliency(count, 2), "n"),
            (lambda count=count: dqv2.random_saliency(2, count, generator=draws()), "size"),
            (lambda count=count: dqv2.choose_donors(count, generator=draws()), "n"),
        ]:
            with pytest.raises(ValueError, match=f"^{name} must be an integer of at least 1"):
                call()
    for chosen in ([0.5], [[0]], None, [], np.array(["a"])):
        for weigh in (gradmatch_weights, craig_weights):
            with pytest.raises(ValueError, match="chosen must"):
                weigh(X, Y, chosen)
    for form in (list, np.array, lambda chosen: torch.tensor(chosen, dtype=torch.uint8)):
        assert torch.equal(craig_weights(X, Y, form([3, 1, 5])), craig_weights(X, Y, torch.tensor([3, 1, 5])))
    for count in (3.0, "3", None, True):
        with pytest.raises(ValueError, match="FeatureRows need a whole number of items, got"):
            dqv2.graphcut_bins(FeatureRows(count, X.__getitem__))
    for budget in (Y[:3] == 1, np.array([True, False, True])):
        with pytest.raises(ValueError, match="one whole number for each of 3 classes, got torch"):
            dqv2.herding_order(X, Y, budget=budget)
    with pytest.raises(ValueError, match="scores must be"):
        dqv2.ccs_sample(None, 0.5, generator=draws())
    with pytest.raises(ValueError, match="features has 23 rows and bins 24 items"):
        sample_class_adaptive(BINS, Y, X[1:], 0.5, generator=draws())
    with pytest.raises(TypeError, match="features must be a torch tensor, got GradientFeatures"):
        sample_class_adaptive(BINS, Y, GradientFeatures(X, X), 0.5, generator=draws())


@pytest.mark.parametrize("wrong", [[[0], [0, 1]], list(torch.zeros(3, requires_grad=True)), [2**63] * 2, [2**70]])
def test_lists_that_are_no_numbers_of_items_are_named(wrong):
    for call, name in [
        (lambda: dqv2.sample_bins(wrong, None, 1, generator=draws()), "bins"),
        (lambda: dqv2.sample_ranked(wrong, None, 1), "rank"),
        (lambda: dqv2.rank_by_score(wrong), "scores"),
        (lambda: dqv2.uniform_bins(N, labels=wrong), "labels"),
    ]:
        with pytest.raises(ValueError, match=f"{name} must be"):
            call()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_torchs_default_dtype_changes_nothing(dtype):
    """Lightning and transformers set it for a while; what was computed then stayed in a cache."""
    images = torch.randint(0, 256, (N, 3, 8, 8), generator=draws(), dtype=torch.uint8)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1))
    model.forward_features, model.forward_head = model[0], lambda x, pre_logits=False: model[1](x).flatten(1)
    calls = [
        lambda: dqv2.normalise(images),
        lambda: dqv2.random_saliency(2, 4, generator=draws()),
        lambda: dqv2.centre_saliency(2, 4),
        lambda: dqv2.mask_iou(MASKS, MASKS.roll(1, 2) | MASKS),
        lambda: dqv2.saliency(model, images),
        *(lambda part=part: dqv2.forward_pass(model, images)[part] for part in range(3)),
    ]
    want = [call() for call in calls]
    _statistics.cache_clear()
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        found = [call() for call in calls]
    finally:
        torch.set_default_dtype(before)
    for got, wanted in zip([*found, *(call() for call in calls)], want * 2, strict=True):
        assert got.dtype == torch.float32
        assert torch.equal(got, wanted)


def test_a_pass_says_what_it_cannot_read(tmp_path):
    class Network(torch.nn.Module):
        def forward_features(self, x):
            return x

        def forward_head(self, x, pre_logits=False):
            return x.mean((2, 3))

    model = Network()
    for images in (list(IMAGES), torch.utils.data.DataLoader(IMAGES), iter(IMAGES), IMAGES[0], IMAGES[:0]):
        with pytest.raises(
            ValueError, match=r"images must be \[N, 3, H, W\] with N at least 1, .* got (shape|\w+, which)"
        ):
            dqv2.forward_pass(model, images)
    for batch_size in (0, -1, 2.5):
        with pytest.raises(ValueError, match="batch_size must be an integer of at least 1"):
            dqv2.saliency(model, IMAGES, batch_size=batch_size)
    with pytest.raises(ValueError, match="files may name embedding, logits, saliency, got features"):
        dqv2.write_pass(model, IMAGES, {"features": tmp_path / "features.npy"})
    assert not any(tmp_path.iterdir())
    with pytest.raises(TypeError, match="function has neither forward_features nor"):
        dqv2.saliency(lambda x: x, IMAGES)
