"""Models, augmentation on the device, the training loop, evaluation."""
