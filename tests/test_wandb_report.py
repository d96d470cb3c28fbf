"""The report at W&B's site, against a server of our own that speaks as much of its language as a report needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

KEY = "0123456789abcdef" * 2 + "deadbeef"  # well-formed, nobody's
PROJECT = {
    "id": "p",
    "name": "ecg",
    "entityName": "me",
    "createdAt": "2026-01-01T00:00:00",
    "isBenchmark": False,
    "user": None,
}


class Server(BaseHTTPRequestHandler):
    """Answers GraphQL; keeps what it was asked."""

    asked: list[dict[str, Any]]

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        query = json.loads(sent) if self.path == "/graphql" else {"query": ""}
        self.asked.append(query)
        variables = query.get("variables") or {}
        answer: dict[str, Any] = {"data": self.answer(query["query"], variables)}
        if "forbidden" in variables.get("displayName", ""):
            answer = {"data": None, "errors": [{"message": "no right to write here"}]}
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
        info = {"cliVersionInfo": {}, "latestLocalVersionInfo": None}
        return {"viewer": viewer, "models": projects, "project": project, "serverInfo": info, "entity": {"id": "e"}}

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    asked: list[dict[str, Any]] = []
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Answering", (Server,), {"asked": asked}))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()


def report(home: Path, group: str = "a_sweep", **environ: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_") and name != "NETRC"}
    call = [sys.executable, "-c", "from ecg.cli import app; app()", "wandb-report", "--group", group]
    environment = {**own, "HOME": str(home), "USERPROFILE": str(home), "WANDB_DIR": str(home), **environ}
    return subprocess.run(call, capture_output=True, text=True, timeout=120, env=environment)


def test_the_report_compares_the_runs_of_a_sweep(server: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    url, asked = server
    ended = report(tmp_path, WANDB_BASE_URL=url, WANDB_API_KEY=KEY)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip().splitlines()[-1].startswith(url)
    (saved,) = [query["variables"] for query in asked if "upsertView" in query["query"]]
    assert (saved["projectName"], saved["entityName"]) == ("ecg", "me")
    assert saved["displayName"] == "Comparison of a_sweep"
    spec = saved["spec"]
    for words in ("a_sweep", "choices", "val/macro_f1", "test/F/f1", "Run Comparer"):
        assert words in spec, words
    assert KEY not in ended.stdout + ended.stderr


def test_no_account_is_one_clear_line(tmp_path: Path) -> None:
    ended = report(tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines() == [
        "Error: There is no W&B account on this machine: `wandb login` stores one. Without it, `ecg compare "
        "RUN_OR_SWEEP --out FOLDER` writes the same comparison as a page."
    ]


def test_a_server_that_refuses_is_one_line(server: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    url, _ = server
    ended = report(tmp_path, WANDB_BASE_URL=url, WANDB_API_KEY=KEY, group="forbidden")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr, ended.stderr
    line = ended.stderr.strip().splitlines()[-1]
    assert line.startswith("Error: W&B did not take the report")
    assert "no right to write here" in line
