"""What is wrong with images, said in one sentence."""


class DataError(ValueError):
    """Images, or a pack of them, are not as they must be; the message says what, where and what to do."""
