"""The plan of a mixture: how many texts of each domain a training reads in an epoch. It is a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sentiment_conv1d.artifact.errors import SentimentError, first_fault, reading

#: The plan of the shipped model `reviews`.
DEFAULT_PLAN = Path(__file__).parents[1] / "reviews" / "reviews.toml"


class Amount(BaseModel):
    """How much of a domain a training reads in an epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int = Field(3500, ge=1, description="Most texts of each label.")
    repeats: int = Field(3, ge=1, description="Most times that one text is read, so that a rare label counts more.")
    copies: int = Field(1, ge=1, description="Times that every drawn text is read.")
    unlabelled: int = Field(25_000, ge=0, description="Most texts without a label.")
    agreement: float = Field(
        0, ge=0, le=1, description="A label that the stored answers hold for less probable than this is ignored."
    )
    teacher: str | None = Field(
        None, description="A model of the repository, NAME/VERSION, whose answers to unlabelled texts are learned too."
    )


class Last(BaseModel):
    """What the last epoch reads: at most so much, and the texts of some domains more often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int = Field(ge=1, description="Most texts of each label of a domain.")
    unlabelled: int = Field(ge=0, description="Most texts of a domain without a label.")
    others: int = Field(ge=0, description="Other labelled texts, read with the stored answers alone.")
    sentences: int = Field(ge=0, description="Most sentences of texts, read with the stored answers.")
    copies: dict[str, int] = Field({}, description="Times that every drawn text is read, by domain.")
    rate: float = Field(1, gt=0, le=1, description="The share of the learning rate to which it falls linearly.")


class Mixture(Amount):
    """The amount of every domain, and which texts are read besides.

    `contrast`, `typed` and `answers` are paths from the folder of the plan, or from that of the plan of `reviews`.
    """

    contrast: str | None = Field(None, description="A folder of texts that differ in little from their opposites.")
    learned: tuple[str, ...] = Field(
        ("learned.csv", "styles.csv"), description="The files of `contrast` that are read."
    )
    typed: str | None = Field(None, description="A file of texts as people type them first, beside a table of words.")
    emojis: float = Field(
        0, ge=0, le=1, description="The share of labelled texts that are read with an emoji of their sense at the end."
    )
    answers: str | None = Field(None, description="A file with another model's answers to the texts.")
    others: int = Field(40_000, ge=0, description="Other labelled texts, read with the stored answers alone.")
    sentences: int = Field(100_000, ge=0, description="Most sentences of texts, read with the stored answers.")
    without: tuple[str, ...] = Field((), description="Domains that are left out.")
    domains: dict[str, Amount] = Field({}, description="Domains with other amounts.")
    last: Last | None = Field(None, description="What the last epoch reads instead.")

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, values: Any) -> Any:
        """Give each domain the amounts of the mixture that it does not state itself."""
        if not isinstance(values, dict) or not isinstance(values.get("domains"), dict):
            return values
        common = {name: values[name] for name in Amount.model_fields if name in values}
        domains = {
            name: common | amount if isinstance(amount, dict) else amount for name, amount in values["domains"].items()
        }
        return values | {"domains": domains}

    @model_validator(mode="after")
    def _has_emojis(self) -> Self:
        if self.emojis and self.typed is None:
            raise ValueError("emojis are in the table of words beside the file `typed`, which is not stated")
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a plan. Raises `SentimentError`, which names the file and the key."""
        try:
            with reading(path):
                return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise SentimentError(f"{path}: {first_fault(error)}") from error
        except ValueError as error:  # also of an invalid encoding
            raise SentimentError(f"{path}: not valid TOML ({error})") from error

    @staticmethod
    def beside(plan: Path, name: str) -> Path:
        """Return a file or folder that a plan names: beside the plan, or beside that of `reviews`."""
        own, shipped = (each.parent / name for each in (plan, DEFAULT_PLAN))
        return shipped if shipped.exists() and not own.exists() else own

    def amount(self, domain: str) -> Amount:
        """Return how much of a domain a training reads."""
        return self.domains.get(domain, self)

    def in_last_epoch(self) -> Mixture:
        """Return the mixture that the last epoch reads."""
        if (last := self.last) is None:
            return self
        most = {"texts": last.texts, "unlabelled": last.unlabelled}
        domains = {}
        for name in self.domains.keys() | last.copies.keys():
            amount = self.amount(name)
            own = {key: min(getattr(amount, key), number) for key, number in most.items()}
            copies = last.copies.get(name, amount.copies)
            domains[name] = Amount(**amount.model_dump(include={*Amount.model_fields}) | own | {"copies": copies})
        own = {key: min(getattr(self, key), number) for key, number in most.items()}
        others = {"others": last.others, "sentences": last.sentences}
        return self.model_copy(update={**own, **others, "domains": domains})
