"""Seeding torch's global generators."""

import torch

from dqv2.runtime.seeding import derive_seed, reseed, seeded


def test_the_global_generator_is_seeded_as_by_torch_and_restored():
    torch.manual_seed(derive_seed(3, "network", 7))
    expected, before = torch.rand(5), torch.get_rng_state()
    with seeded(3, "network", 7):
        assert torch.equal(torch.rand(5), expected)
        reseed(3, "network", 7)
        assert torch.equal(torch.rand(5), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_step_on_the_cpu_leaves_nothing_to_do_for_a_gpu():
    """`torch.manual_seed` keeps a traceback for later at every call, until a GPU is first used."""
    before = len(torch.cuda._queued_calls)
    reseed(0, "network")
    assert len(torch.cuda._queued_calls) == before
