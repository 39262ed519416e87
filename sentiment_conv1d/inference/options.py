"""How a model is run: the choices that are open to users."""

from typing import Literal

ProviderChoice = Literal["auto", "cpu", "cuda"]

#: Texts per batch, and per run on CUDA.
BATCH_ROWS = 64
