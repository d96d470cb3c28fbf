"""Drives a headless Chromium by its DevTools protocol: https://chromedevtools.github.io/devtools-protocol/"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--remote-debugging-port=0",
    "--no-first-run",
)
TIMEOUT = 120.0  # s

chromium = next(filter(None, map(shutil.which, NAMES)), None)


class Tab:
    """A tab of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    async def evaluate(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression."""
        ended = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in ended, ended
        return ended["result"].get("value")

    async def until(self, expression: str) -> None:
        """Waits until an expression is true. During a change of the page, it is not."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                ended = await self.call("Runtime.evaluate", expression=f"Boolean({expression})", returnByValue=True)
                if ended["result"].get("value") is True:
                    return
                await asyncio.sleep(0.1)

    async def open(self, url: str) -> None:
        """Opens a page."""
        await self.call("Page.navigate", url=url)
        await self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    async def choose_files(self, selector: str, paths: list[Path]) -> None:
        """Chooses the files of an input."""
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.call("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        await self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    async def screenshot(self, path: Path, width: int, height: int, scheme: str = "light") -> None:
        """Writes a picture of the page to a PNG file. `scheme` is light or dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await asyncio.sleep(0.5)
        path.write_bytes(base64.b64decode((await self.call("Page.captureScreenshot"))["data"]))


@asynccontextmanager
async def open_tab(profile: Path) -> AsyncIterator[Tab]:
    """Starts Chromium with a new profile in the folder `profile`, and yields a tab."""
    assert chromium is not None
    process = await asyncio.create_subprocess_exec(
        chromium, *OPTIONS, f"--user-data-dir={profile}", "about:blank", stderr=asyncio.subprocess.DEVNULL
    )
    try:
        port_file = profile / "DevToolsActivePort"
        async with asyncio.timeout(TIMEOUT):
            while not port_file.is_file() or len(port_file.read_text().split()) < 2:
                await asyncio.sleep(0.1)
        address = f"http://127.0.0.1:{port_file.read_text().split()[0]}/json/list"
        async with aiohttp.ClientSession() as session:
            tabs = await (await session.get(address)).json()
            url = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
            async with session.ws_connect(url, max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        process.terminate()
        await process.wait()
