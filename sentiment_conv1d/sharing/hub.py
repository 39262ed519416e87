"""Writes to a repository of the Hugging Face Hub in one commit, which readers see completely or not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from sentiment_conv1d.artifact.errors import SentimentError, TransientError
from sentiment_conv1d.artifact.model_card import CARD_FILE
from sentiment_conv1d.sharing.store import read_file


class HubCommit:
    """A commit on top of the newest one at the time of this call. The Hub refuses it if there is a newer one by then.

    `system` is the file system of the Hub, `path` that of a model repository in it, and `url` names the target of the
    commit in messages.
    """

    def __init__(self, system: Any, path: str, url: str) -> None:
        self._system, self._url = system, url
        self._place = system.resolve_path(path)
        if not hasattr(self._place, "repo_id"):
            raise SentimentError(f"{url}: push needs a repository of the Hub, not a bucket")
        self._api = HfApi(endpoint=system.endpoint, token=system.token)
        self._repository = {"repo_id": self._place.repo_id, "repo_type": self._place.repo_type}
        self._parent = self._api.repo_info(**self._repository, revision=self._place.revision).sha

    def write(self, version: str, files: Mapping[str, bytes], missing: Collection[str]) -> None:
        """Write those files of a version that are missing into its folder, which is <name>/<version>.

        The model card also becomes that of the repository, unless it has a card of something else.
        """
        try:
            self._api.create_commit(
                **self._repository,
                revision=self._place.revision,
                operations=list(self._additions(version, {name: files[name] for name in missing})),
                commit_message=f"Publish {version}",
                parent_commit=self._parent,
            )
        except HfHubHTTPError as error:
            if error.response.status_code != HTTPStatus.PRECONDITION_FAILED:
                raise
            raise TransientError(f"{self._url}: the repository changed at the same time; push again") from None

    def _additions(self, version: str, files: Mapping[str, bytes]) -> Iterator[CommitOperationAdd]:
        parent = f"{self._place.path_in_repo}/{version}".lstrip("/")
        for name, content in files.items():
            yield CommitOperationAdd(f"{parent}/{name}", content)
        card = read_file(self._system, f"{self._place.root}/{CARD_FILE}")
        name, _, _ = version.partition("/")
        if CARD_FILE in files and (card is None or f"\n# {name}, version ".encode() in card):
            yield CommitOperationAdd(CARD_FILE, files[CARD_FILE])
