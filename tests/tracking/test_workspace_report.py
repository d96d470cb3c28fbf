"""The report on the W&B site, with a local server that answers the queries of a report."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tracking_factories import KEY

from ecg.errors import UserError
from ecg.tracking.workspace_report import publish

PROJECT = {
    "id": "p",
    "name": "ecg",
    "entityName": "me",
    "createdAt": "2026-01-01T00:00:00",
    "isBenchmark": False,
    "user": None,
}


class Server(BaseHTTPRequestHandler):
    """Answers GraphQL queries and stores them."""

    queries: list[dict[str, Any]]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        query: dict[str, Any] = json.loads(content) if self.path == "/graphql" else {"query": ""}
        self.queries.append(query)
        variables = query.get("variables") or {}
        answer: dict[str, Any] = {"data": self.answer(query["query"], variables)}
        if "forbidden" in variables.get("displayName", ""):
            answer = {"data": None, "errors": [{"message": "permission denied"}]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "upsertView" in query:
            view = {"id": "Vmlldzox", "name": "x", "displayName": variables["displayName"], "type": "runs"}
            view |= {"description": "", "project": PROJECT, "spec": variables["spec"], "updatedAt": None}
            return {"upsertView": {"view": view, "inserted": True}}
        page = {"endCursor": None, "hasNextPage": False}
        projects = {"edges": [{"node": PROJECT, "cursor": "c"}], "pageInfo": page}
        viewer = {"id": "u", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
        project = {**PROJECT, "runs": {"totalCount": 0, "edges": [], "pageInfo": page}, "internalId": "p"}
        info: dict[str, Any] = {"cliVersionInfo": {}, "latestLocalVersionInfo": None}
        return {"viewer": viewer, "models": projects, "project": project, "serverInfo": info, "entity": {"id": "e"}}

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Address of a W&B server with an account, and the queries that it has received."""
    queries: list[dict[str, Any]] = []
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Server", (Server,), {"queries": queries}))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{httpd.server_port}"
    monkeypatch.setenv("WANDB_BASE_URL", url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield url, queries
    httpd.shutdown()


@pytest.mark.slow
def test_the_report_compares_the_runs_of_a_sweep(
    server: tuple[str, list[dict[str, Any]]], capfd: pytest.CaptureFixture[str]
) -> None:
    url, queries = server
    assert publish("ecg", entity=None, group="a_sweep").startswith(url)
    (saved,) = [query["variables"] for query in queries if "upsertView" in query["query"]]
    assert (saved["projectName"], saved["entityName"]) == ("ecg", "me")
    assert saved["displayName"] == "Comparison of a_sweep"
    for text in ("a_sweep", "choices", "val/macro_f1", "test/F/f1", "Run Comparer"):
        assert text in saved["spec"], text
    assert KEY not in "".join(capfd.readouterr())


def test_missing_credentials_are_an_error_with_a_remedy() -> None:
    with pytest.raises(UserError, match=r"`wandb login`.*`ecg compare RUN_OR_SWEEP --out FOLDER`"):
        publish("ecg", entity=None, group=None)


def test_a_refusal_of_the_server_is_an_error_with_its_reason(server: tuple[str, list[dict[str, Any]]]) -> None:
    with pytest.raises(UserError, match=r"W&B refuses the report: .*permission denied"):
        publish("ecg", entity=None, group="forbidden")
