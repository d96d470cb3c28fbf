"""A web server with the endpoints of the Hugging Face Hub that downloads and uploads of models need.

Endpoints, statuses and headers are those that `huggingface_hub` uses. Model files are large files: the server answers
their download with a redirect to a signed address, and receives them by the protocol of Git LFS.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

TOKEN, READ_TOKEN = "hf_secretOfTheOwner", "hf_secretOfAReader"
LARGE = ".safetensors"
SIGNATURE = "signature=hf_secretOfTheAddress"
Handler = BaseHTTPRequestHandler


@dataclass
class Repository:
    """A repository: the files of each commit, and the commit of each branch and tag."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        """Adds files to the branch main."""
        content = self.commits.get(self.revisions.get("main", ""), {}) | files
        name = hashlib.sha1(repr((len(self.commits), sorted(content))).encode()).hexdigest()
        self.commits[name], self.revisions["main"] = content, name
        return name

    @property
    def files(self) -> dict[str, bytes]:
        """Files of the branch main."""
        return self.commits[self.revisions["main"]]


@dataclass
class Hub:
    """The state of the server."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)  # large files by sha256
    status: int | None = None  # of every answer
    requests: list[tuple[str, str]] = field(default_factory=list)  # method and path

    def add(self, name: str, files: dict[str, bytes], *, private: bool = False) -> Repository:
        """Adds a repository."""
        repository = self.repositories[name] = Repository(private)
        repository.commit(files)
        return repository

    def answer(self, handler: Handler) -> None:
        """Answers a request."""
        body = handler.rfile.read(int(handler.headers["Content-Length"] or 0))
        path = handler.path.partition("?")[0]
        self.requests.append((handler.command, path))
        routes: list[tuple[str, str, Callable[..., None]]] = [
            ("HEAD GET", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve),
            ("GET", r"/large/(\w+)", self._send_large),
            ("PUT", r"/large/(\w+)", self._receive_large),
            ("GET", r"/api/models/([^/]+/[^/]+)", self._describe),
            ("POST", r"/api/repos/create", self._create),
            ("POST", r"/api/validate-yaml", self._validate),
            ("POST", r"/api/models/(.+)/preupload/main", self._choose_modes),
            ("POST", r"/(.+)\.git/info/lfs/objects/batch", self._offer_upload),
            ("POST", r"/api/models/(.+)/commit/main", self._commit),
        ]
        if self.status is not None:
            send(handler, self.status)
            return
        for methods, pattern, route in routes:
            if handler.command in methods.split() and (match := re.fullmatch(pattern, path)):
                route(handler, body, *match.groups())
                return
        send(handler, 404)

    def _token(self, handler: Handler) -> str:
        return (handler.headers["Authorization"] or "").removeprefix("Bearer ")

    def _readable(self, handler: Handler, name: str) -> Repository | None:
        """A repository, or None after an answer that it is not there for this token."""
        repository = self.repositories.get(name)
        if repository is None or (repository.private and self._token(handler) not in (TOKEN, READ_TOKEN)):
            status = 404 if self._token(handler) in (TOKEN, READ_TOKEN) else 401
            send(handler, status, headers={"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        return repository

    def _may_write(self, handler: Handler, name: str) -> bool:
        token, user = self._token(handler), name.partition("/")[0]
        if token == TOKEN and user == "user":
            return True
        if token in (TOKEN, READ_TOKEN):
            send(handler, 403, headers={"X-Error-Message": "You have no rights for this"})
        else:
            send(handler, 401, headers={"X-Error-Message": "Invalid username or password."})
        return False

    def _resolve(self, handler: Handler, _: bytes, name: str, revision: str, file: str) -> None:
        if (repository := self._readable(handler, name)) is None:
            return
        commit = repository.revisions.get(revision, revision)
        if commit not in repository.commits:
            send(handler, 404, headers={"X-Error-Code": "RevisionNotFound"})
            return
        if (content := repository.commits[commit].get(file)) is None:
            send(handler, 404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        headers = {"X-Repo-Commit": commit}
        if not file.endswith(LARGE):
            etag = hashlib.sha1(content).hexdigest()
            send(handler, 200, content, headers | {"ETag": f'"{etag}"'})
            return
        sha256 = hashlib.sha256(content).hexdigest()
        self.large[sha256] = content
        headers |= {"X-Linked-ETag": f'"{sha256}"', "X-Linked-Size": str(len(content))}
        # Another host, as that of the content delivery network is.
        location = f"{self.url.replace('127.0.0.1', 'localhost')}/large/{sha256}?{SIGNATURE}"
        send(handler, 302, b"", headers | {"Location": location})

    def _send_large(self, handler: Handler, _: bytes, sha256: str) -> None:
        assert handler.headers["Authorization"] is None, "a token was sent to another host"
        send(handler, 200, self.large[sha256])

    def _receive_large(self, handler: Handler, body: bytes, sha256: str) -> None:
        assert hashlib.sha256(body).hexdigest() == sha256
        self.large[sha256] = body
        send(handler, 200)

    def _describe(self, handler: Handler, _: bytes, name: str) -> None:
        if (repository := self._readable(handler, name)) is not None:
            send_json(handler, 200, {"id": name, "sha": repository.revisions["main"], "private": repository.private})

    def _create(self, handler: Handler, body: bytes) -> None:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if not self._may_write(handler, name):
            return
        exists = name in self.repositories
        if not exists:
            private = asked.get("private") or asked.get("visibility") == "private"
            self.add(name, {".gitattributes": b""}, private=bool(private))
        send_json(handler, 409 if exists else 200, {"url": f"{self.url}/{name}"})

    def _validate(self, handler: Handler, body: bytes) -> None:
        parts = json.loads(body)["content"].split("---\n")
        try:
            yaml.safe_load(parts[1] if len(parts) > 1 else "")
        except yaml.YAMLError:
            send_json(handler, 400, {"errors": [{"message": "the header is not YAML"}], "warnings": []})
            return
        warnings = [] if len(parts) > 1 else [{"message": "empty or missing yaml metadata in repo card"}]
        send_json(handler, 200, {"errors": [], "warnings": warnings})

    def _choose_modes(self, handler: Handler, body: bytes, name: str) -> None:
        if not self._may_write(handler, name):
            return
        modes = [
            {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular"}
            for file in json.loads(body)["files"]
        ]
        send_json(handler, 200, {"files": [mode | {"shouldIgnore": False, "oid": None} for mode in modes]})

    def _offer_upload(self, handler: Handler, body: bytes, name: str) -> None:
        if not self._may_write(handler, name):
            return
        offers = [
            file | {"actions": {"upload": {"href": f"{self.url}/large/{file['oid']}?{SIGNATURE}"}}}
            for file in json.loads(body)["objects"]
        ]
        send_json(handler, 200, {"transfer": "basic", "objects": offers})

    def _commit(self, handler: Handler, body: bytes, name: str) -> None:
        if not self._may_write(handler, name):
            return
        files: dict[str, bytes] = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.large[value["oid"]]
        commit = self.repositories[name].commit(files)
        send_json(handler, 200, {"commitUrl": f"{self.url}/{name}/commit/{commit}", "commitOid": commit})


def send(handler: Handler, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
    """Sends an answer."""
    handler.send_response(status)
    for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        handler.send_header(key, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def send_json(handler: Handler, status: int, content: dict[str, Any]) -> None:
    """Sends an answer in JSON."""
    send(handler, status, json.dumps(content).encode(), {"Content-Type": "application/json"})


@contextlib.contextmanager
def run_hub() -> Iterator[Hub]:
    """Runs the server on this machine."""
    hub = Hub()

    class RequestHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            with contextlib.suppress(ConnectionError):
                hub.answer(self)

        do_GET = do_HEAD = do_POST = do_PUT = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), RequestHandler) as server:
        server.daemon_threads = True  # clients keep their connections open
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield hub
        server.shutdown()
        thread.join()
