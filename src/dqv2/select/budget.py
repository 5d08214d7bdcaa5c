"""Budgets: how many items of each class an order ranks before it stops."""

import numbers

import torch
from torch import Tensor

from dqv2.apportion import largest_remainder
from dqv2.arguments import as_tensor

UNRANKED = torch.iinfo(torch.int64).max  # the rank beyond an order's budget: above all, refused by `sample_ranked`
# None: every item. A number of items in all, shared by class in proportion to the classes' sizes as `sample_ranked`
# shares them. Or int64[C], the items of each class, by ascending label
Budget = int | Tensor | None


def class_budgets(budget: Budget, sizes: list[int]) -> list[int]:
    """How many items each class ranks, of classes of these sizes.

    A budget of more items than there are ranks all. Raises ValueError unless it is a whole number of at least 1, or one
    number for each class between 0 and its size.
    """
    if budget is None:
        return list(sizes)
    budget = as_tensor(budget)
    if isinstance(budget, Tensor) and budget.dim() == 1:
        found = budget.tolist()
        if budget.is_floating_point() or len(found) != len(sizes):
            raise ValueError(
                f"budget must be one whole number for each of {len(sizes)} classes, got {budget.dtype} of shape "
                f"{list(budget.shape)}"
            )
        if wrong := [c for c, size in enumerate(sizes) if not 0 <= found[c] <= size]:
            c = wrong[0]
            raise ValueError(f"budget of class {c} (by ascending label) is {found[c]}, and it has {sizes[c]} items")
        return found
    if isinstance(budget, bool) or not isinstance(budget, numbers.Integral) or budget < 1:
        raise ValueError(
            f"budget must be a whole number of items, at least 1 (of N items a share s is round(s * N)), got {budget!r}"
        )
    return largest_remainder(torch.tensor(sizes), min(int(budget), sum(sizes))).tolist()


def enough_for(sizes: Tensor, count: int) -> Tensor:
    """A budget from which any coreset of at most `count` items can be drawn: int64[C], each class's part rounded up.

    By largest remainder alone a class may get fewer of a larger coreset than of a smaller one (the Alabama paradox),
    but never more than its part rounded up. sizes: int64[C], of the classes.
    """
    return torch.minimum(-(-sizes * count // max(int(sizes.sum()), 1)), sizes)
