"""The measures of figures and tables as printed, with their units."""

import re

MEASURES = {
    "test_accuracy": "Top-1 accuracy (%)",
    "validation_accuracy": "Validation accuracy (%)",
    "train_loss": "Training loss",
    "coreset_size": "Images in the coreset",
    "iou": "IoU with the known object",
    "iou_others": "IoU with another image's object",
    "own_minus_others": "IoU with the own object less that with another image's",
    "megabytes": "Size (MB)",
    "bytes_per_image": "Bytes per image",
    "selection_seconds": "Selection time (s)",
    "early_seconds": "Time of trainings before the selection (s)",
    "train_seconds": "Training time (s)",
    "mask_seconds": "Mask time (s)",
}
# The word by which a caption of the user's own names a measure
NAMED_BY = {"validation_accuracy": "validation", "megabytes": "MB", "bytes_per_image": "bytes"}
NAMED_BY |= dict.fromkeys(("iou", "iou_others", "own_minus_others"), "IoU")


def measure(y: str) -> str:
    """A measure as printed, with its unit: "bin_seconds" -> "Bin time (s)"; the column's name if it is not known."""
    stage = y.removesuffix("_seconds")
    timed = f"{stage.capitalize().replace('_', ' ')} time (s)" if stage != y else y
    return MEASURES.get(y, timed)


def unnamed(y: str, caption: str) -> str:
    """The measure, if a table with this caption has to name it; empty for test accuracy and if the caption does so."""
    words = rf"\b{NAMED_BY[y]}\b" if y in NAMED_BY else re.escape(measure(y))
    return "" if y == "test_accuracy" or re.search(words, caption, re.IGNORECASE) else measure(y)
