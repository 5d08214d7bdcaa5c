"""Published weights of an autoencoder: fetched where they are not there, and looked at before anything needs them."""

from pathlib import Path

from dqv2.stages.base import Stage


class Weights(Stage):
    """Local, as compute nodes have no internet. The file is nobody's output, so that Snakemake never removes it."""

    title = "published autoencoder"
    writes = {"json": "autoencoders/{autoencoder}.json", "record": "autoencoders/{autoencoder}/record.json"}

    def reads(self, plan, w):
        path = Path(plan.config.autoencoders[w.autoencoder].weights).expanduser()
        return {"file": [str(path)] if path.exists() else []}  # one that is replaced is looked at anew

    def options(self, plan, w):
        block = plan.config.autoencoders[w.autoencoder]
        return {"file": Path(block.weights).name, "sha256": block.sha256}

    def detail(self, plan, w):
        return f"{plan.config.autoencoders[w.autoencoder].title}: pre-trained elsewhere"

    def run(self, job):
        from dqv2.config import load_config
        from dqv2.data.download import download
        from dqv2.pixel.autoencoder import WeightsError, load_autoencoder, weights_sha256
        from dqv2.runtime.files import write_json
        from dqv2.runtime.logging import say

        # From the configuration, not from the options: where a file lies or comes from is no reason to run again
        block = load_config(job.config).autoencoders[job.wildcards.autoencoder]
        path, url, expected = Path(block.weights).expanduser(), block.url, block.sha256
        if url and not path.exists():
            download(url, path, f"sha256:{expected}" if expected else None)
        model = load_autoencoder(path)
        found = weights_sha256(path)
        if expected and found != expected:
            raise WeightsError(
                f"{path} has the sha256 {found}, not {expected}: delete it, and download or copy it again."
            )
        numbers = sum(weight.numel() for weight in model.parameters())
        facts = {"path": block.weights, "sha256": found, "parameters": numbers}
        facts |= {"image_size": model.config.image_size, "patch_size": model.config.patch_size}
        write_json(job.output.json, facts)
        known = "as configured" if expected else "none is configured to compare it with"
        say(f"{path}: an autoencoder of {numbers / 1e6:.0f} million weights, sha256 {found} ({known})")
