"""Every word's share of a logit, for a network and a text."""

from __future__ import annotations

from sentiment_conv1d.model.explaining.attribution import attribute
from sentiment_conv1d.model.explaining.forward import forward
from sentiment_conv1d.model.explaining.network import Network
from sentiment_conv1d.model.explaining.reading import Word, read
from sentiment_conv1d.model.input_shape import InputShape
from sentiment_conv1d.model.tokenizer import Tokenizer


def explain_words(network: Network, tokenizer: Tokenizer, text: str, unit: int) -> list[Word]:
    """Return the words that the network reads of a text, with their shares of the logit of a unit of the last layer."""
    leading_padding = None if network.averages else max(bank.span for bank in network.banks)
    reading = read(text, tokenizer.encode(text), tokenizer, InputShape.of(tokenizer, leading_padding))
    shares = attribute(network, forward(network, reading.row), unit).shares
    return reading.words(text, shares, tokenizer.unknown_id)
