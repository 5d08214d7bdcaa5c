"""Background replacement: images whose background cells come from a donor image (DQ_V2, appendix A)."""

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from dqv2.arguments import check_images, check_masks, check_positive, check_tensors, device_of_draws, kind_of

_CHUNK_NUMBERS = 2**20  # pixels or cells processed at a time: about 40 MB of index tensors


def choose_donors(n: int, *, generator: torch.Generator) -> Tensor:
    """A donor for each of n images, drawn uniformly from the others: int64[n], on the generator's device.

    Raises ValueError for n < 2, TypeError unless `generator` is a `torch.Generator`.
    """
    check_positive(n, "n")
    if n < 2:
        raise ValueError(f"a donor is another image, so at least 2 images are needed, got {n}")
    donors = torch.randint(n - 1, (n,), generator=generator, device=device_of_draws(generator))
    return donors + (donors >= torch.arange(n, device=donors.device))


def cell_edges(length: int, cells: int) -> list[int]:
    """The pixel at which each cell of a side begins, and the end: round(k·length / cells) for k = 0..cells, with
    Python's round. Raises ValueError unless 1 <= cells <= length."""
    if not 1 <= cells <= length:
        raise ValueError(f"{cells} cells do not fit a side of {length} pixels; use a Tobias size of 1..{length}")
    return [round(k * length / cells) for k in range(cells + 1)]


def tobias_cells(masks: Tensor, donors: Tensor, *, generator: torch.Generator) -> Tensor:
    """Which of the donor's cells fills each cell: int64[N, s·s] in row order, -1 for foreground (kept).

    masks: bool[N, s, s], True for foreground; donors: int64[N], indices into the same N. The donor's background cells
    are assigned to the image's in random order, each once. Draws are made on the generator's device; the result is on
    the masks' device. Raises ValueError for other shapes or dtypes, and where an image and its donor differ in their
    number of background cells.
    """
    _check_masks(masks, donors)
    n, s, _ = masks.shape
    background = ~masks.flatten(1)
    donors = donors.to(masks.device)
    counts = background.sum(1)
    wrong = counts != counts[donors]
    if bool(wrong.any()):
        i = int(wrong.int().argmax())
        raise ValueError(
            f"{int(wrong.sum())} images differ from their donor in the number of background cells; the first "
            f"is index {i} ({int(counts[i])}) with donor {int(donors[i])} ({int(counts[donors[i]])}). "
            "Give every mask the same foreground share"
        )
    cells = torch.full((n, s * s), -1, dtype=torch.int64, device=masks.device)
    for part in _chunks(n, s * s):
        shape = part.stop - part.start, s * s
        key = torch.rand(shape, generator=generator, device=device_of_draws(generator), dtype=torch.float64)
        # Keys of the donor's background cells are below 1, those of its foreground above, so the former sort first.
        key = key.to(masks.device) + 2.0 * ~background[donors[part]]
        source = key.argsort(dim=1, stable=True)
        target = (~background[part]).to(torch.uint8).argsort(dim=1, stable=True)
        filled = torch.arange(s * s, device=masks.device) < counts[part, None]
        cells[part].scatter_(1, target, torch.where(filled, source, -1))
    return cells


def compose(images: Tensor, donor_images: Tensor, cells: Tensor) -> Tensor:
    """Fill cells of images from their donors: uint8[N, 3, H, W].

    images, donor_images: uint8[N, 3, H, W], row i of the second the donor of row i of the first; cells: as
    from `tobias_cells`, any integer type. Foreground cells keep their pixels bit for bit. Cells are cut at
    round(k·H/s) and round(k·W/s); where H or W is not a multiple of s, a donor's cell of another size is resized by
    nearest neighbour: sizes differ by one pixel, so blending would gain nothing, and the result is exact on every
    device. Raises ValueError for other shapes, dtypes or cell numbers, and s beyond H or W.
    """
    check_tensors(images=images, donor_images=donor_images, cells=cells)
    dtypes, shapes = {images.dtype, donor_images.dtype}, {images.shape, donor_images.shape}
    if dtypes != {torch.uint8} or len(shapes) > 1 or images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images and donor_images must both be uint8[N, 3, H, W], got {kind_of(images)} and {kind_of(donor_images)}"
        )
    n, _, height, width = images.shape
    s = round(cells.shape[-1] ** 0.5) if cells.dim() else 0
    whole = not (cells.is_floating_point() or cells.is_complex() or cells.dtype == torch.bool)
    if tuple(cells.shape) != (n, s * s) or s == 0 or not whole:
        raise ValueError(f"cells must be int[{n}, s·s], got {kind_of(cells)}")
    least = -1 if cells.dtype.is_signed else 0  # the largest uint64 becomes -1
    if cells.dtype in (torch.uint16, torch.uint32, torch.uint64):  # for which torch has no minimum
        cells = cells.to(torch.int64)
    if n and not least <= int(cells.min()) <= int(cells.max()) < s * s:
        raise ValueError(f"cells must lie in -1..{s * s - 1}")
    row_cell, row_source = _sources(height, s, images.device)
    column_cell, column_source = _sources(width, s, images.device)
    out = torch.empty_like(images)
    for part in _chunks(n, height * width):
        source = cells[part].to(images.device, torch.int64, non_blocking=images.is_cuda).view(-1, s, s)
        own = (source < 0)[:, row_cell][:, :, column_cell]
        source = source.clamp(min=0)
        # The donor's pixel row depends on (y, cell column) only, its pixel column on (cell row, x).
        row = row_source.gather(1, (source // s)[:, row_cell].transpose(0, 1).reshape(height, -1))
        row = row.view(height, -1, s).transpose(0, 1).contiguous()
        column = column_source.gather(1, (source % s)[:, :, column_cell].permute(2, 0, 1).reshape(width, -1))
        column = column.view(width, -1, s).permute(1, 2, 0).contiguous()
        pixel = (row * width).index_select(2, column_cell).add_(column.index_select(1, row_cell))
        new = donor_images[part].flatten(2).gather(2, pixel.flatten(1)[:, None].expand(-1, images.shape[1], -1))
        torch.where(own[:, None], images[part], new.view_as(images[part]), out=out[part])
    return out


def tobias(images: Tensor, masks: Tensor, donors: Tensor, *, generator: torch.Generator) -> Tensor:
    """Replace the backgrounds of images by those of their donors: uint8[N, 3, H, W] (DQ_V2, appendix A).

    images: uint8[N, 3, H, W]; masks: bool[N, s, s], True for foreground; donors: int64[N], the index of each
    image's donor. Equivalent to `compose(images, images[donors], tobias_cells(masks, donors, generator=generator))`,
    which see. Raises ValueError for other dtypes, inconsistent shapes, s beyond H or W, and background counts that
    differ between an image and its donor.
    """
    check_images(images=images)
    _check_masks(masks, donors)
    if len(masks) != len(images):
        raise ValueError(
            f"images must be uint8[N, 3, H, W] with one mask each, got shape {list(images.shape)} "
            f"and {len(masks)} masks"
        )
    cells = tobias_cells(masks, donors, generator=generator)
    out = torch.empty_like(images)
    for part in _chunks(len(images), images[0, 0].numel() if len(images) else 1):
        out[part] = compose(images[part], images[donors[part].to(images.device)], cells[part])
    return out


def _check_masks(masks: Tensor, donors: Tensor) -> None:
    check_masks(masks=masks)
    check_tensors(donors=donors)
    n = len(masks)
    if donors.dtype != torch.int64 or tuple(donors.shape) != (n,):
        raise ValueError(f"donors must be int64[{n}], got {kind_of(donors)}")
    if n and not 0 <= int(donors.min()) <= int(donors.max()) < n:
        raise ValueError(f"donors must be indices of the {n} images, 0..{n - 1}")


@lru_cache(maxsize=16)
def _sources(length: int, cells: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Along one axis: each pixel's cell, [L], and the pixel that each donor cell would put there, [L, s].

    Cached, as a training needs the same for every batch, and a copy to a GPU makes the host wait.
    """
    edge = torch.tensor(cell_edges(length, cells))
    size = edge.diff()
    cell = torch.arange(len(size)).repeat_interleave(size)
    offset = torch.arange(length) - edge[cell]
    # Where the centre of a cell's pixel falls in the donor's cell; in integers, so exact on every device.
    source = edge[:-1] + (2 * offset[:, None] + 1) * size // (2 * size[cell][:, None])
    return cell.to(device), source.to(device)


def _chunks(n: int, numbers_each: int) -> Iterator[slice]:
    step = max(1, _CHUNK_NUMBERS // max(1, numbers_each))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
