"""An artifact that a training continues: its look-up tables, and the dense layer after them.

The tables of an 8-bit artifact are dequantized, so the continued network starts with the answers of the artifact.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sentiment_conv1d.artifact.artifact import ArtifactError, read_artifact
from sentiment_conv1d.artifact.configuration import RESERVED_IDS, BaseConfiguration, Convolution
from sentiment_conv1d.artifact.explaining.network import Network, QuantizedTables
from sentiment_conv1d.artifact.manifest import GRAPH_FILE, Manifest
from sentiment_conv1d.artifact.tokenizer import VocabularyTokenizer
from sentiment_conv1d.inference.graph_file import read_network
from sentiment_conv1d.model.configuration import without_averages
from sentiment_conv1d.model.run import Inherited

Fresh = TypeVar("Fresh", bound=BaseConfiguration)

Floats = npt.NDArray[np.float32]

#: The most epochs of a training that continues an artifact. It starts near its end.
_MOST_EPOCHS = 15


@dataclass(frozen=True, eq=False)
class Pretrained:
    """An artifact whose network is banks of filters, global max pooling, a relu, and one dense layer.

    A linear model of an ensemble can be beside them: a bank of single words with average pooling.
    """

    path: Path
    manifest: Manifest
    configuration: BaseConfiguration  # of the artifact's own training
    tokenizer: VocabularyTokenizer
    tables: tuple[Floats, ...]  # [width, vocabulary, filters] for each bank
    kernel: Floats  # [filters, outputs] of the dense layer
    bias: Floats  # [outputs]
    trained_on: None = None  # an artifact does not contain its training texts

    @property
    def weights_file(self) -> Path:
        """The file that contains the weights."""
        return self.path / GRAPH_FILE

    @property
    def title(self) -> str:
        """The name and version of the model."""
        return f"{self.manifest.name} {self.manifest.version}"

    def continued(self, fresh: Fresh) -> Fresh:
        """Return the configuration of a network with the filters of the artifact, and beside them those of `fresh`.

        The vocabulary has room for as many new words as that of `fresh` has words.
        """
        banks = {kind_of(bank): bank.filters for bank in without_averages(self.configuration).convolutions}
        for bank in fresh.convolutions:
            banks[kind_of(bank)] = banks.get(kind_of(bank), 0) + bank.filters
        return fresh.changed(
            tokenizer=self.configuration.tokenizer,
            vocabulary_size=self.tokenizer.vocabulary_size + fresh.vocabulary_size - RESERVED_IDS,
            max_tokens=max(self.tokenizer.max_tokens, fresh.max_tokens),
            convolutions=[kind.model_copy(update={"filters": filters}) for kind, filters in banks.items()],
            members=1,
            epochs=min(fresh.epochs, _MOST_EPOCHS),
        )

    @property
    def inherited(self) -> Inherited:
        """What applies to every model that continues this one."""
        manifest = self.manifest
        return Inherited(model=self.title, precision=manifest.precision, license=manifest.license, notes=manifest.notes)


def read_pretrained(path: Path) -> Pretrained:
    """Read an artifact to continue. Raises `ArtifactError` if it is damaged, or its network is of another kind."""
    artifact = read_artifact(path)
    manifest, tokenizer, network = artifact.manifest, artifact.tokenizer, read_network(artifact.graph)
    if manifest.configuration is None or not isinstance(tokenizer, VocabularyTokenizer):
        raise _unsuitable(path, "it was trained elsewhere")
    configuration = BaseConfiguration.model_validate(manifest.configuration)
    if configuration.multilabel:
        raise _unsuitable(path, "it gives a text several labels")
    if network is None:
        raise _unsuitable(path, "its graph is not folded")
    if len(network.head) > 1:
        raise _unsuitable(path, "it has a hidden layer")
    if any(bank.pooling == "max" and bank.activations != ("Relu",) for bank in network.banks):
        raise _unsuitable(path, "its filters have another activation than relu")
    if network.averages and configuration.recipe != "ensemble":
        raise _unsuitable(path, "its filters are averaged over the text")
    tables = _tables(network)
    for table, bank in zip(tables, network.banks, strict=True):
        table[0] += bank.bias
    (dense,) = network.head
    return Pretrained(path, manifest, configuration, tokenizer, tuple(tables), dense.kernel, dense.bias)


def _unsuitable(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(f"{path}: a training cannot continue this model, because {reason}")


def _tables(network: Network) -> list[Floats]:
    """Return the tables of each bank without its bias, dequantized: float32 [width, vocabulary, filters]."""
    return [
        each.entries * each.step + each.lowest[:, np.newaxis]
        if isinstance(each, QuantizedTables)
        else each.entries.copy()
        for each in network.tables
    ]


def kind_of(bank: Convolution) -> Convolution:
    """Return what two banks must share so that one bank can have the filters of both."""
    return bank.model_copy(update={"filters": 1})
