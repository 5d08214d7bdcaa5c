"""DQ's pixel step: drop the patches that matter least to a network and reconstruct them with a masked autoencoder.

Source: Zhou et al. 2023, Dataset Quantization, section 3.3, and its published code.
"""
