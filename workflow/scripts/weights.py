"""Look at an autoencoder's published weights before anything needs them: whole, complete, the right checksum."""

from pathlib import Path

from dqv2.pixel.autoencoder import WeightsError, load_autoencoder, weights_sha256
from dqv2.runtime.files import write_json
from dqv2.runtime.job import run_job
from dqv2.runtime.logging import say


def main(snakemake):
    path, expected = snakemake.input.file, snakemake.params.options["sha256"]
    found = weights_sha256(path)
    if expected and found != expected:
        raise WeightsError(f"{path} has the sha256 {found}, not {expected}: delete it, and download or copy it again.")
    model = load_autoencoder(path)
    numbers = sum(weight.numel() for weight in model.parameters())
    facts = {"path": str(path), "sha256": found, "parameters": numbers}
    facts |= {"image_size": model.config.image_size, "patch_size": model.config.patch_size}
    write_json(Path(snakemake.output.json), facts)
    say(f"{path}: an autoencoder of {numbers / 1e6:.0f} million weights, sha256 {found[:12]}")


if "snakemake" in globals():
    run_job(main, globals()["snakemake"])
