"""Fetch published weights if they are missing, and check them before any job needs them."""

from dqv2.stages.base import Stage


class Weights(Stage):
    """A note that published weights are there and can be loaded.

    Its rule is local, as compute nodes often have no internet. The file is nobody's output, so Snakemake never
    removes it.
    """

    title = "published weights"
    version = 2
    writes = {"json": "weights/{block}/{network}.json", "record": "weights/{block}/{network}/record.json"}

    def reads(self, plan, w):
        block = self._block(plan.config, w)
        path = block.place.path
        # A person's own is looked at anew when it is replaced. One that is fetched is not there at first: no input
        return {"file": [str(path)] if path and path.exists() and not (block.url or block.place.hub) else []}

    def options(self, plan, w):
        block = self._block(plan.config, w)
        path = block.place.path
        return {"file": path.name if path else block.weights, "sha256": block.sha256}

    def detail(self, plan, w):
        block = self._block(plan.config, w)
        return block.title or block.weights

    def published(self, plan, w):
        return [(w.block, w.network)]

    @staticmethod
    def _block(config, w):
        return getattr(config, w.block)[w.network]

    def run(self, job):
        from dqv2.config import load_config
        from dqv2.runtime.files import write_json
        from dqv2.runtime.logging import say
        from dqv2.weights import fetch_weights

        # From the configuration, not from the options: where a file lies or comes from is no reason to run again
        block = self._block(load_config(job.config), job.wildcards)
        path = fetch_weights(block.place, url=block.url, sha256=block.sha256)
        facts = self.look(block, job.wildcards.block, path)
        write_json(job.output.json, {"path": str(path)} | facts)
        known = "as configured" if block.sha256 else "none is configured to compare it with"
        say(f"{path}: a network of {facts['parameters'] / 1e6:.1f} million weights, sha256 {facts['sha256']} ({known})")

    @staticmethod
    def look(block, kind, path):
        """Load a configuration block's weights and return what is known about them. Raises WeightsError."""
        from dqv2.weights import WeightsError, checksum_of

        found = checksum_of(path)
        if block.sha256 not in (None, found):
            known = f"not {block.sha256}: delete it, and download or copy it again"
            raise WeightsError(f"{path} has the sha256 {found}, {known}.")
        if kind == "autoencoders":
            from dqv2.pixel.autoencoder import load_autoencoder

            model = load_autoencoder(path)
            facts = {"image_size": model.config.image_size, "patch_size": model.config.patch_size}
        else:
            from dqv2.train.models import Network
            from dqv2.train.pretrained import load_pretrained

            asked = {"args": block.args, "input_size": block.input_size}
            network = Network(block.model, 1, block.input_size, block.stem_for("standard"), **asked)
            how = {"hub": block.place.hub, "layers": block.layers, "mean": block.mean, "std": block.std}
            model, network = load_pretrained(path, network, **how)
            facts = {"classes": network.n_classes, "mean": network.mean, "std": network.std}
        return facts | {"sha256": found, "parameters": sum(weight.numel() for weight in model.parameters())}
