"""A small training for tests: an easy set of 30 images in 3 classes, a network, hyperparameters, a state that dies."""

import torch

from dqv2.runtime.resume import Resume
from dqv2.runtime.seeding import generator
from dqv2.train.hyperparameters import Hyperparameters
from dqv2.train.models import Network, build_model

CPU = torch.device("cpu")


def hyperparameters(**changes):
    values = {"batch_size": 8, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
    values |= {"augment": {"crop": "pad", "pad": 2, "flip": True}, "epochs": 4}
    return Hyperparameters(**(values | changes))


def easy_set():
    """uint8[30, 3, 16, 16] whose red tells the class, and int64[30]."""
    images = torch.randint(0, 256, (30, 3, 16, 16), dtype=torch.uint8, generator=generator(0, "images"))
    labels = torch.arange(30) % 3
    images[:, 0] = (labels * 100).to(torch.uint8)[:, None, None]
    return images, labels


def model(seed=0):
    return build_model(Network("resnet8", 3, 32), seed=seed, purpose="train")


class Stop(BaseException):
    pass


class Cut(Resume):
    """Dies right after its second checkpoint."""

    count = 0

    def save(self, state):
        super().save(state)
        self.count += 1
        if self.count == 2:
            raise Stop
