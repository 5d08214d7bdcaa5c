"""Budgets: how many items of each class an order ranks before it stops."""

import torch
from torch import Tensor

from dqv2.apportion import largest_remainder
from dqv2.arguments import as_tensor, is_whole, kind_of

UNRANKED = torch.iinfo(torch.int64).max  # rank of an item beyond an order's budget; `sample_ranked` never takes it
# None: every item. An int: a number of items in total, shared among the classes in proportion to their sizes, as
# `sample_ranked` does. Or int64[C]: the items of each class, by ascending label
Budget = int | Tensor | None


def class_budgets(budget: Budget, sizes: list[int]) -> list[int]:
    """How many items to rank in each class, for classes of these sizes.

    A budget of more items than there are ranks all. Raises ValueError unless `budget` is None, an integer of at least
    1, or one integer per class between 0 and the class's size.
    """
    if budget is None:
        return list(sizes)
    budget = as_tensor(budget)
    if isinstance(budget, Tensor) and budget.dim() == 1:
        found = budget.tolist()
        if budget.is_floating_point() or budget.dtype == torch.bool or len(found) != len(sizes):
            raise ValueError(f"budget must be one whole number for each of {len(sizes)} classes, got {kind_of(budget)}")
        if wrong := [c for c, size in enumerate(sizes) if not 0 <= found[c] <= size]:
            c = wrong[0]
            raise ValueError(f"budget of class {c} (by ascending label) is {found[c]}, and it has {sizes[c]} items")
        return found
    if not is_whole(budget) or budget < 1:
        raise ValueError(
            f"budget must be a whole number of items, at least 1 (of N items a share s is round(s * N)), got {budget!r}"
        )
    return largest_remainder(torch.tensor(sizes), min(int(budget), sum(sizes))).tolist()


def enough_for(sizes: Tensor, count: int) -> Tensor:
    """A budget that suffices for any coreset of at most `count` items: int64[C], each class's quota rounded up.

    With largest remainders a class may get fewer items of a larger coreset than of a smaller one (the Alabama paradox),
    but never more than its quota rounded up. sizes: int64[C], the sizes of the classes.
    """
    return torch.minimum(-(-sizes * count // max(int(sizes.sum()), 1)), sizes)
