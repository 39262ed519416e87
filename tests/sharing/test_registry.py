"""`push` and `pull` with Debian's OCI registry, and with a server in front of it for what it does not do by itself."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from sentiment_conv1d.model.manifest import FILES
from sentiment_conv1d.model.model_card import CARD_FILE
from tests.processes import PATIENCE
from tests.service.artifacts import publish_strength
from tests.service.certificates import Authority
from tests.sharing.interception import Answer, Interception
from tests.stores import REMOTE, Registry

USER, PASSWORD = "team", "the-password"

#: Of bcrypt, with few rounds.
HASH = "$2b$04$tTAMCZKjxg/fm6ZpK3DBz.mjTogieSxpkKZ8JmA.ZferBMVaZQP/u"

BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

#: A program that knows only oras.
PULL = "import sys, oras.client; oras.client.OrasClient(insecure=True).pull(sys.argv[1], outdir=sys.argv[2])"


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Write an artifact, version 1 of a model that no other test uses."""
    name = request.node.originalname.replace("_", "-")
    return publish_strength(tmp_path / "source", 1, name=name, license="mit").path


def another(folder: Path, tmp_path: Path) -> Path:
    """Write another artifact of the same name and version."""
    return publish_strength(tmp_path / "another", 2, name=folder.parent.name).path


def test_stranger(registry: Registry, folder: Path, tmp_path: Path) -> None:
    """Other clients find the files of a version, what it is, and its licence."""
    name = folder.parent.name
    assert registry.run("push", str(folder), registry.url).returncode == 0
    target = f"{registry.address.removeprefix('http://')}/team/{name}:1"
    command = [str(REMOTE / "bin" / "python"), "-c", PULL, target, str(tmp_path / "out")]
    subprocess.run(command, check=True, timeout=PATIENCE)
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == {
        file.name: file.read_bytes() for file in folder.iterdir()
    }
    manifest = registry.manifest(name, "1")
    assert manifest["artifactType"] == "application/vnd.sentiment-conv1d.model.v1"
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert manifest["annotations"] == {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.version": "1",
        "org.opencontainers.image.licenses": "mit",
    }


def test_edited_card(registry: Registry, folder: Path) -> None:
    """Pushing an artifact with another card replaces the card, and keeps the other files."""
    assert registry.run("push", str(folder), registry.url).returncode == 0
    (folder / CARD_FILE).write_text("# Mine\n")
    answer = registry.run("push", str(folder), registry.url).stdout
    assert answer == f"{registry.url}/{folder.parent.name}/1: wrote {CARD_FILE}; all files are verified\n"
    assert registry.read(f"{folder.parent.name}/1/model.onnx") == (folder / "model.onnx").read_bytes()


def test_upload_that_breaks_off(registry: Registry, folder: Path, tmp_path: Path) -> None:
    """If the registry disappears after the files and before the manifest, there is no version."""
    with Interception(registry.address, lambda name: name != "1") as between:
        url = registry.url_at(between.address)
        failed = registry.run("push", str(folder), url)
    assert failed.returncode == 75
    assert failed.stderr.startswith(f"error: {url}: cannot be written to (")
    assert failed.stderr.count("\n") == 1
    pulled = registry.run("pull", f"{registry.url}/{folder.parent.name}/1", "--to", str(tmp_path / "target"))
    message = "the version does not exist, or is incomplete: it has no manifest.json"
    assert pulled.stderr == f"error: {registry.url}/{folder.parent.name}/1: {message}\n"
    assert pulled.returncode == 2
    assert registry.run("push", str(folder), registry.url).returncode == 0


def test_push_at_the_same_time(registry: Registry, folder: Path, tmp_path: Path) -> None:
    """If another push writes the version while the files are uploaded, its version stays."""
    other = another(folder, tmp_path)

    def write_first(name: str) -> bool:
        if registry.manifest(folder.parent.name, "1") is None:
            registry.publish(other)
        return True

    with Interception(registry.address, write_first) as between:
        url = registry.url_at(between.address)
        failed = registry.run("push", str(folder), url)
    message = "another push wrote it at the same time; push again"
    assert failed.stderr == f"error: {url}/{folder.parent.name}/1: {message}\n"
    assert failed.returncode == 75
    assert registry.read(f"{folder.parent.name}/1/model.onnx") == (other / "model.onnx").read_bytes()


def test_tag_of_something_else(registry: Registry, folder: Path) -> None:
    """A tag that is no model is neither pulled nor replaced, and is not the newest version."""
    name = folder.parent.name
    registry.publish(folder)
    registry.tag(name, "2", "application/vnd.example", [])
    newer = str(publish_strength(folder.parents[1], 2, name=name).path)
    url, cache = f"{registry.url}/{name}", folder.parents[2] / "cache"
    for command in (("push", newer, registry.url), ("pull", f"{url}/2", "--to", str(cache))):
        failed = registry.run(*command)
        kind = "application/vnd.sentiment-conv1d.model.v1"
        assert failed.stderr == f"error: {url}/2: the tag is not an OCI artifact of the type {kind}\n"
        assert failed.returncode == 2
    pulled = registry.run("pull", url, "--to", str(cache / "pulled"))
    assert pulled.stdout == f"{cache}/pulled/{name}/1: {name}, version 1; all files are verified\n"


def test_namespace_with_other_things(registry: Registry, folder: Path, tmp_path: Path) -> None:
    """A service ignores repositories without tags, and refuses tags that are no models."""
    name = folder.parent.name
    registry.publish(folder)
    registry.write("without-tags/1/model.onnx", b"?")
    registry.tag("other", "1", "application/vnd.example", [])
    (tmp_path / "texts.txt").write_text("praise\n")
    flags = ("--model-repository", registry.url, "--model-cache", str(tmp_path / "cache"), "--default-model")
    assert registry.run("predict", str(tmp_path / "texts.txt"), *flags, name).returncode == 0
    refused = registry.run("predict", str(tmp_path / "texts.txt"), *flags, "other")
    kind = "application/vnd.sentiment-conv1d.model.v1"
    assert refused.stderr == f"error: {registry.url}/other/1: the tag is not an OCI artifact of the type {kind}\n"
    assert refused.returncode == 2


def test_damaged_blob(registry: Registry, folder: Path, tmp_path: Path) -> None:
    """Bytes that are not those of the manifest are refused by the URL of their file, also for the card."""
    registry.run("push", str(folder), registry.url)
    manifest = registry.manifest(folder.parent.name, "1")
    digest = manifest["layers"][-1]["digest"].removeprefix("sha256:")
    [blob] = registry.files.rglob(f"{digest}/data")
    for content in (b"?" * blob.stat().st_size, blob.read_bytes() + b"?"):
        blob.write_bytes(content)
        failed = registry.run("pull", f"{registry.url}/{folder.parent.name}", "--to", str(tmp_path / "target"))
        message = "the registry returns other bytes than its manifest says"
        assert failed.stderr == f"error: {registry.url}/{folder.parent.name}/1/{CARD_FILE}: {message}\n"
        assert failed.returncode == 2
    assert not (tmp_path / "target").exists()


def test_too_many_bytes(registry: Registry, folder: Path, tmp_path: Path) -> None:
    """The limit of `pull` holds for a registry."""
    registry.publish(folder)
    total = sum((folder / file).stat().st_size for file in FILES)
    command = ("pull", f"{registry.url}/{folder.parent.name}/1", "--to", str(tmp_path), "--max-bytes")
    refused = registry.run(*command, str(total - 1))
    assert refused.stderr.endswith(f"/1: has more than {total - 1:,} bytes; --max-bytes allows more\n")
    assert registry.run(*command, str(total)).returncode == 0


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Start a registry that asks for a password."""
    file = tmp_path_factory.mktemp("private") / "htpasswd"
    file.write_text(f"{USER}:{HASH}\n")
    with Registry(auth={"htpasswd": {"realm": "private", "path": str(file)}}) as store:
        yield store


def docker_home(folder: Path, address: str) -> str:
    """Write Docker's file of credentials into a home folder."""
    (folder / ".docker").mkdir()
    content = {"auths": {address.removeprefix("http://"): {"auth": BASIC}}}
    (folder / ".docker" / "config.json").write_text(json.dumps(content))
    return str(folder)


def test_password(private: Registry, folder: Path, tmp_path: Path) -> None:
    """Credentials come from the environment or from Docker's file. Without the right ones, one line says so."""
    command = ("push", str(folder), private.url)
    for user, password in (("", ""), (USER, "the-wrong-secret")):
        failed = private.run(*command, HOME=str(tmp_path), ORAS_USER=user, ORAS_PASS=password)
        reason = "the registry answered 401 Unauthorized"
        assert failed.stderr == f"error: {private.url}: cannot be written to ({reason})\n"
        assert failed.returncode == 2
    assert private.run(*command, HOME=str(tmp_path), ORAS_USER=USER, ORAS_PASS=PASSWORD).returncode == 0
    home = docker_home(tmp_path, private.address)
    assert "is already there" in private.run(*command, HOME=home, ORAS_USER="").stdout


class Tokens(Interception):
    """Gives tokens for the password, each for one action, as large registries do. Nobody can list its repositories."""

    def answer(self, request: BaseHTTPRequestHandler) -> Answer | None:
        url, authorization = urlsplit(request.path), request.headers.get("authorization", "")
        if url.path == "/token":
            token = json.dumps({"token": parse_qs(url.query)["scope"][0]}).encode()
            return Answer(200, body=token) if authorization == f"Basic {BASIC}" else Answer(401)
        scope = "push" if request.command in {"POST", "PUT"} else "pull"
        if url.path == "/v2/_catalog":
            return Answer(403)
        if authorization == f"Bearer {scope}":
            return None
        challenge = f'Bearer realm="{self.address}/token",service="registry",scope="{scope}"'
        return Answer(401, {"www-authenticate": challenge})


def test_tokens(registry: Registry, folder: Path, tmp_path: Path) -> None:
    """A registry can ask for a token, and for another one to write. One that lists nothing serves `pull` only."""
    with Tokens(registry.address) as between:
        url = registry.url_at(between.address)
        refused = registry.run("push", str(folder), url, HOME=str(tmp_path), ORAS_USER=USER, ORAS_PASS="wrong-secret")
        message = "cannot be written to (the registry answered 401 Unauthorized)"
        assert (refused.returncode, refused.stderr) == (2, f"error: {url}: {message}\n")
        home = docker_home(tmp_path, between.address)
        assert registry.run("push", str(folder), url, HOME=home).returncode == 0
        assert registry.run("pull", f"{url}/test-tokens", "--to", str(tmp_path), HOME=home).returncode == 0
        flags = ("--model-repository", url, "--model-cache", str(tmp_path / "cache"))
        failed = registry.run("explain", "praise", *flags, HOME=home)
    reason = "the registry answered 403 Forbidden to a listing of its repositories; `pull` the models"
    assert failed.stderr.startswith(f"error: {url}: cannot be read ({reason}")
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)


class Failing(Interception):
    """Answers requests for manifests with a status."""

    status = 500

    def answer(self, request: BaseHTTPRequestHandler) -> Answer | None:
        return Answer(self.status) if "/manifests/" in request.path else None


@pytest.mark.parametrize(("status", "exit_status"), [(500, 75), (429, 75), (400, 2)])
def test_status(registry: Registry, folder: Path, tmp_path: Path, status: int, exit_status: int) -> None:
    """A registry that fails or is busy may answer later. Nothing is mistaken for a version that does not exist."""
    registry.publish(folder)
    with Failing(registry.address) as between:
        between.status = status
        url = registry.url_at(between.address)
        failed = registry.run("pull", f"{url}/{folder.parent.name}", "--to", str(tmp_path / "target"))
    assert failed.stderr.startswith(f"error: {url}: cannot be read (the registry answered {status} ")
    assert (failed.returncode, failed.stderr.count("\n")) == (exit_status, 1)


def test_registry_that_is_gone(folder: Path, tmp_path: Path) -> None:
    """A registry that does not answer may answer later. The error is that of the system."""
    registry = Registry()
    registry.stop()
    for command in (("push", str(folder), registry.url), ("pull", f"{registry.url}/any", "--to", str(tmp_path))):
        failed = registry.run(*command)
        assert failed.returncode == 75
        assert failed.stderr.startswith(f"error: {registry.url}: cannot be ")
        assert failed.stderr.endswith("([Errno 111] Connection refused)\n")


class Pages(Interception):
    """Lists one tag per page, with links of each form."""

    def answer(self, request: BaseHTTPRequestHandler) -> Answer | None:
        url = urlsplit(request.path)
        if not url.path.endswith("/tags/list"):
            return None
        links = {"": f"{url.path}?last=7", "last=7": "http://localhost:1/v2/team/test-pages/tags/list?last=8"}
        following = links.get(url.query)
        tag = {"": "latest", "last=7": "7"}.get(url.query, "1")
        headers = {} if following is None else {"link": f'<{following}>; rel="next"'}
        return Answer(200, headers, json.dumps({"tags": [tag]}).encode())


def test_pages(registry: Registry, folder: Path, tmp_path: Path) -> None:
    """All pages of a listing count, and links lead to no other host. A tag whose manifest is missing is ignored."""
    registry.publish(folder)
    with Pages(registry.address) as between:
        url = registry.url_at(between.address)
        pulled = registry.run("pull", f"{url}/test-pages", "--to", str(tmp_path / "target"))
    assert pulled.stdout == f"{tmp_path}/target/test-pages/1: test-pages, version 1; all files are verified\n"


class Endless(Interception):
    """Lists tags on pages without an end."""

    def answer(self, request: BaseHTTPRequestHandler) -> Answer | None:
        return Answer(200, {"link": f'<{urlsplit(request.path).path}?last=1>; rel="next"'}, b'{"tags": ["a"]}')


def test_endless_listing(registry: Registry, tmp_path: Path) -> None:
    """A listing that does not end is given up."""
    with Endless(registry.address) as between:
        url = registry.url_at(between.address)
        failed = registry.run("pull", f"{url}/endless", "--to", str(tmp_path))
    assert failed.stderr == f"error: {url}: cannot be read (the registry lists more than 100 pages)\n"


class Large(Interception):
    """Answers with one byte too many."""

    def answer(self, request: BaseHTTPRequestHandler) -> Answer | None:
        return Answer(200, body=bytes((4 << 20) + 1)) if "/manifests/" in request.path else None


def test_large_manifest(registry: Registry, tmp_path: Path) -> None:
    """A manifest of any size does not fill the memory."""
    with Large(registry.address) as between:
        url = registry.url_at(between.address)
        failed = registry.run("pull", f"{url}/any/1", "--to", str(tmp_path))
    assert failed.stderr == f"error: {url}: cannot be read (the registry answered with more than 4,194,304 bytes)\n"
    assert failed.returncode == 2


class Downgrade(BaseHTTPRequestHandler):
    """Asks for a token from a server without TLS."""

    realm = ""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("www-authenticate", f'Bearer realm="{self.realm}"')
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None: ...


def test_encryption(registry: Registry, tmp_path: Path) -> None:
    """A registry on another machine is reached with TLS only, and so is its server of tokens."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("server", address="127.0.0.2").pair)
    with (
        socket.create_server(("127.0.0.2", 0)) as plain,
        ThreadingHTTPServer(("127.0.0.2", 0), Downgrade) as server,
    ):
        address = f"127.0.0.2:{plain.getsockname()[1]}"
        Downgrade.realm = f"http://{address}/token"
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"oci://127.0.0.2:{server.server_port}/team"
        variables = {"REQUESTS_CA_BUNDLE": str(authority.certificate), "ORAS_USER": USER, "ORAS_PASS": PASSWORD}
        failed = registry.run("pull", f"{url}/any", "--to", str(tmp_path), **variables)
        server.shutdown()
        plain.setblocking(False)
        with pytest.raises(BlockingIOError):
            plain.accept()
    assert failed.stderr == f"error: {url}: cannot be read (the registry leads to '{address}' without TLS)\n"
    assert failed.returncode == 2


@pytest.mark.parametrize(
    "url",
    ["oci://host.example", "oci://host/team", "oci://host.example/Team", "oci://user:SECRET@host.example/team"],
)
def test_urls(url: str, registry: Registry, folder: Path) -> None:
    """A URL needs a host that is unlike a namespace, as for Docker, and a namespace, and contains no password."""
    failed = registry.run("push", str(folder), url)
    shown = url.replace("user:SECRET@", "")
    message = "a registry needs a URL like oci://HOST[:PORT]/NAMESPACE, with small letters"
    assert (failed.returncode, failed.stderr) == (2, f"error: {shown}: {message}\n")


def test_name_that_no_registry_allows(registry: Registry, tmp_path: Path) -> None:
    """The name of a model can end with a dash, but not that of a repository."""
    failed = registry.run("push", str(publish_strength(tmp_path, 1, name="dash-").path), registry.url)
    reason = "registries allow no model 'dash-': separators (. _ -) stand between letters or digits"
    assert (failed.returncode, failed.stderr) == (2, f"error: {registry.url}: cannot be written to ({reason})\n")
