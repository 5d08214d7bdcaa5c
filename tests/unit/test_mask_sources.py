"""Every source of masks in the table passes this suite."""

import numpy as np
import pytest
import torch

from dqv2.config.blocks import Mask
from dqv2.runtime.seeding import generator
from dqv2.semantic.masks import foreground
from dqv2.semantic.sources import mask_saliency
from dqv2.semantic.table import MASK_SOURCES

N, SIDE = 7, 16
every_source = pytest.mark.parametrize("source", MASK_SOURCES)


def given(source, n=N, **more):
    """What a source reads: made-up saliency, or an object an image."""
    reads = MASK_SOURCES[source].reads
    network = torch.rand(n, 5, 6, generator=generator(1)) if reads == "saliency" else None
    objects = torch.zeros(n, SIDE, SIDE, dtype=torch.bool) if reads == "objects" else None
    if objects is not None:
        for i in range(n):
            objects[i, i : i + 4, 3 : 8 + i % 3] = True
    return {"n": n, "network": network, "objects": objects, **more}


def maps_of(source, size=8, seed=0, **more):
    return mask_saliency(source, size=size, generator=generator(seed, "mask", source), **given(source, **more))


@every_source
@pytest.mark.parametrize("size", [1, 3, 4, 7, 8, 20])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 1.0])
def test_a_mask_has_exactly_its_share_of_the_cells(source, size, fraction):
    masks = foreground(maps_of(source, size), size, fraction=fraction)
    assert (masks.shape, masks.dtype) == ((N, size, size), torch.bool)
    assert masks.flatten(1).sum(1).tolist() == [round(fraction * size * size)] * N


@every_source
def test_maps_are_finite_and_a_seed_gives_the_same_ones(source):
    maps = maps_of(source)
    assert maps.is_floating_point()
    assert len(maps) == N
    assert maps.dim() == 3
    assert bool(maps.isfinite().all())
    assert torch.equal(maps, maps_of(source))
    assert torch.equal(maps, maps_of(source, seed=1)) != MASK_SOURCES[source].draws


@every_source
def test_what_it_reads_is_left_as_it_is(source):
    before, after = given(source), given(source)
    mask_saliency(source, size=8, generator=generator(0), **after)
    for name in ("network", "objects"):
        assert before[name] is after[name] is None or torch.equal(before[name], after[name])


@every_source
def test_the_configuration_wants_a_backbone_where_its_saliency_is_read(source):
    reads = MASK_SOURCES[source].reads
    mask = Mask(source=source, backbone="early" if reads == "saliency" else None)
    assert (mask.reads_saliency, mask.reads_objects) == (reads == "saliency", reads == "objects")
    with pytest.raises(ValueError, match="backbone is needed by the sources"):
        Mask(source=source, backbone=None if reads == "saliency" else "early")


def test_shuffled_gives_each_image_the_map_of_another():
    network = given("shuffled")["network"]
    maps = maps_of("shuffled")
    found = [int((network == one).flatten(1).all(1).nonzero()) for one in maps]
    assert sorted(found) == list(range(N))
    assert all(theirs != own for own, theirs in enumerate(found))
    with pytest.raises(ValueError, match="at least 2 images"):
        maps_of("shuffled", n=1)


def test_what_a_source_lacks_is_named():
    with pytest.raises(ValueError, match="source must be one of network, shuffled, centre, random, object, got 'foo'"):
        mask_saliency("foo", n=N, size=8)
    for source, field in (("network", "network"), ("shuffled", "network"), ("object", "objects")):
        with pytest.raises(ValueError, match=f"the source {source} reads {field}, which must be a torch tensor"):
            mask_saliency(source, n=N, size=8, generator=generator(0))


def test_the_object_comes_first():
    objects = given("object")["objects"]
    masks = foreground(maps_of("object"), SIDE, fraction=0.5)
    assert bool((masks | ~objects).all())


def test_the_centre_is_the_same_for_all_and_noise_is_not():
    assert bool((maps_of("centre") == maps_of("centre")[:1]).all())
    assert len(np.unique(maps_of("random").flatten(1).numpy(), axis=0)) == N
