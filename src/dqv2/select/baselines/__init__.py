"""The methods that DQ and DQ_V2 are compared with, one family per file, as pure functions."""
