"""The networks of our own, with their depths; every other name is a model of timm. Imports nothing."""

SMALL = {"resnet8": 8, "resnet20": 20}
