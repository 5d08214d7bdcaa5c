"""What the settings of a network and its training may be; the configuration takes the same. Imports nothing."""

# The networks of our own, with their depths; every other name is a model of timm
SMALL = {"resnet8": 8, "resnet20": 20}

CHOICES = {
    "optimiser": ("sgd", "adamw"),
    "schedule": ("one_cycle", "cosine"),
    "mix": ("none", "mixup", "cutmix", "both"),
    "on_out_of_memory": ("exact", "approximate", "fail"),
    "precision": ("float32", "bfloat16", "auto"),
    "crop": ("none", "pad", "resized"),
    "stem": ("standard", "small"),
    "interpolation": ("bilinear", "bicubic"),
}
