"""Semantically-aware augmentation: keep what a CNN's feature map marks as foreground, fill the rest from other images.

Source: Cao & Wu 2022 (Tobias); DQ_V2, section 3.3 and appendix A.
"""
