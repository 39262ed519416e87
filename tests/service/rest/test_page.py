"""The files of the page over HTTP: types, caching, the policy, and access."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sentiment_conv1d.service.rest import page
from sentiment_conv1d.service.settings import Settings
from tests.processes import PROJECT, ServerProcess

FOLDER = PROJECT / "service" / "page"
FILES = sorted(path for path in FOLDER.iterdir() if path.is_file())
KEY = "a-key-of-some-length"


def test_index(server: ServerProcess) -> None:
    """The root returns the page of the package."""
    response = server.client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    markup = (FOLDER / "index.html").read_text()
    assert response.text == markup.replace("{{ privacy }}", page.privacy(Settings()))
    for known, status in ((response.headers["etag"], 304), ('"other"', 200)):
        assert server.client.get("/", headers={"if-none-match": known}).status_code == status
    head = server.client.head("/")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", response.headers["etag"])


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ((), "The page sends what you type only to this service, which does not log it."),
        (
            ("--request-log", "{folder}"),
            "The page sends what you type only to this service, which logs 1 % of the requests, which it chooses at "
            "random. Its log contains the predictions, but not what you type.",
        ),
        (
            ("--request-log", "{folder}", "--request-log-sample", "1", "--request-log-texts"),
            "The page sends what you type only to this service, which logs all requests. Its log contains what you "
            "type.",
        ),
    ],
    ids=["no log", "predictions", "texts"],
)
def test_privacy(tmp_path: Path, flags: tuple[str, ...], sentence: str) -> None:
    """The page says what this service logs of a text, and what the browser keeps."""
    kept = "Your browser keeps your last ten texts until you close this tab, or choose \u201cForget\u201d."
    settings = [flag.format(folder=tmp_path) for flag in flags]
    with ServerProcess("--workers", "1", *settings) as server:
        assert f'id="privacy">{sentence} {kept}</p>' in server.client.get("/").text


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix != ".html"], ids=lambda path: path.name)
def test_files(server: ServerProcess, path: Path) -> None:
    """Every file has its type and the headers, and a client that has the file gets a 304."""
    address = f"/page/{path.name}"
    response = server.client.get(address)
    kinds = {
        ".css": "text/css",
        ".js": "text/javascript",
        ".svg": "image/svg+xml",
    }
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == kinds[path.suffix]
    assert response.content == path.read_bytes()
    assert "content-encoding" not in response.headers
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    tag = response.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = server.client.get(address, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = server.client.get(address, headers={"if-none-match": '"other"'})
    assert other.status_code == 200


def test_policy(server: ServerProcess) -> None:
    """The policy allows content from the service, and no inline code or other sources."""
    policy = server.client.get("/").headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert {rules[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert "*" not in policy
    for path in ("/docs", "/page/main.js"):
        assert "unsafe" not in server.client.get(path).headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/index.html",
        "/page/reference.html",
        "/page/none.js",
        "/page/..%2Fsettings.py",
        "/page/../settings.py",
        "/page/%00",
    ],
)
def test_other_paths(server: ServerProcess, path: str) -> None:
    """Other paths do not lead to files."""
    response = server.client.get(path)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


def test_no_code_in_markup() -> None:
    """Markup contains no code or style, scripts create no markup from text, and nothing names another host."""
    for path in FILES:
        content = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", content)
        assert set(re.findall(r"https?://[^\s\"'`]+", content)) <= {"http://www.w3.org/2000/svg"}
    markup = (FOLDER / "index.html").read_text()
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", markup)


def test_imports_lead_somewhere() -> None:
    """Every imported module exists, and every id that a script looks up is in the markup or created by the script."""
    markup = (FOLDER / "index.html").read_text()
    ids = set(re.findall(r'id="([\w-]+)"', markup))
    for path in FILES:
        if path.suffix == ".js":
            script = path.read_text()
            for module in re.findall(r'from "\./([\w.]+)"', script):
                assert (FOLDER / module).is_file()
            assert set(re.findall(r'byId\("([\w-]+)"\)', script)) <= ids, path


def test_api_keys() -> None:
    """With API keys, the page and the reference need one, and --open-page opens only their files."""
    with ServerProcess("--workers", "1", SENTIMENT_API_KEYS=KEY) as server:
        for path in page.PATHS:
            assert server.client.get(path).status_code == 401
            assert server.client.get(path, headers={"x-api-key": KEY}).status_code == 200
    with ServerProcess("--workers", "1", "--open-page", SENTIMENT_API_KEYS=KEY) as server:
        for path in page.PATHS:
            assert server.client.get(path).status_code == 200
            assert server.client.head(path).status_code == 200
        assert server.client.post("/", json={"inputs": "x"}).status_code == 401
        for path in ("/v1/models", "/page/none.js", "/docs/none.js"):
            assert server.client.get(path).status_code == 401
