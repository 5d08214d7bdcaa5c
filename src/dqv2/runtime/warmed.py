"""What the warm server has ready before it forks: imported once for all jobs of a run. Nothing else imports this."""

import matplotlib.figure  # noqa: F401
import pandas  # noqa: F401
import scipy.stats  # noqa: F401
import seaborn  # noqa: F401
import timm  # noqa: F401
import torchvision  # noqa: F401

from dqv2 import data, stages  # noqa: F401
from dqv2.paper import figures, style, tables  # noqa: F401
from dqv2.pixel import step  # noqa: F401  (not `autoencoder`: few jobs need transformers, a second's import)
from dqv2.runtime import device, job, record, resume  # noqa: F401
from dqv2.select import kinds, selectors  # noqa: F401
from dqv2.semantic import overlap, recipe, saliency  # noqa: F401
from dqv2.train import evaluation, fit, models, scoring  # noqa: F401

stages.all_stages()
record.versions()
