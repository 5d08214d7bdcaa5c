"""Tobias augmentation: keep what a CNN's feature map marks as foreground, fill the rest from other images.

Source: Cao & Wu 2022 (Tobias); DQ_V2, section 4 and appendix A.
"""

import sys
from types import ModuleType

from torch import Generator, Tensor


class _CallableModule(ModuleType):
    """Python binds `dqv2.tobias` to this sub-package; the function of that name is called through it."""

    def __call__(self, images: Tensor, masks: Tensor, donors: Tensor, *, generator: Generator) -> Tensor:
        """See `dqv2.tobias.compose.tobias`."""
        from dqv2.tobias.compose import tobias

        return tobias(images, masks, donors, generator=generator)


sys.modules[__name__].__class__ = _CallableModule
