"""Seeding torch's global generators."""

import threading

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


def test_threads_take_turns():
    """There is one global generator: a thread that seeded it would change another's draws."""
    found = []

    def draw(seed):
        with seeded(seed, "x"):
            found.append(torch.rand(3).tolist())

    draw(0)
    draw(1)
    thread = threading.Thread(target=draw, args=[1])
    with seeded(0, "x"):
        thread.start()
        thread.join(0.2)
        draw(0)  # again in the same thread
        found.append(torch.rand(3).tolist())
    thread.join()
    assert found == [found[0], found[1], found[0], found[0], found[1]]
