"""The tiny shop behind a real HTTP server, and a headless Chromium that looks at its page.

Debian's packages `chromium` and `chromium-driver` bring the browser, PyPI's `selenium` speaks to
it; where one is missing these tests are skipped. Run them with `pytest -m browser tests/browser`.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qianmian.workspace import PROJECT_ROOT
from serving.http import build_app
from serving.service import VenueService
from tests.serving import tiny
from tests.serving.shop import service

EXPERIMENT = """\
experiment: discovery
layer: sources
salt: s
arms:
  - {name: control, share: 0.5}
  - {name: discovery, share: 0.5, overrides: {sources: {repeat: 1}}}
"""
DESKTOP = (1280, 900)
PATIENCE = 10.0  # seconds


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> VenueService:
    home = tmp_path_factory.mktemp("home")
    tiny.publish(home / tiny.DATASET / "releases")
    experiments = home / "configs" / "experiments"
    experiments.mkdir(parents=True)
    (experiments / "discovery.yaml").write_text(EXPERIMENT)
    one = service(home, configs=home / "configs")
    one.settings = one.settings.model_copy(update={"web": PROJECT_ROOT / "web"})
    return one


@pytest.fixture(scope="session")
def service_url(shop: VenueService) -> Iterator[str]:
    """Address of the running service, with a slash at the end."""
    uvicorn = pytest.importorskip("uvicorn", reason="pip install uvicorn")
    config = uvicorn.Config(build_app(shop), log_level="warning", ws="none")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            eventually(lambda: server.started)
            yield f"http://127.0.0.1:{door.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    binaries = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in binaries:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = binaries[0]
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(binaries[1]))
    try:
        yield driver
    finally:
        driver.quit()


class View:
    """The page as somebody looking at it sees it."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver = driver
        self.address = address

    def open(self, query: str = "") -> View:
        self.driver.get(self.address + query)
        return self.settled()

    def settled(self) -> View:
        """Wait until nothing is being fetched."""
        eventually(
            lambda: (
                (self.all("article") or self.all("[role=alert]"))
                and not self.all("[aria-busy]")
                and not self.all("#venue:disabled")
            )
        )
        return self

    def all(self, css: str) -> list[Any]:
        return self.driver.find_elements("css selector", css)

    def one(self, css: str) -> Any:
        return self.driver.find_element("css selector", css)

    def texts(self, css: str) -> list[str]:
        return [found.text for found in self.all(css)]

    def item_ids(self, column: int) -> list[str]:
        """Return the items of a column, read in one moment."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.dataset.item)"
        return self.driver.execute_script(script, f"article:nth-of-type({column}) .item")

    def query(self) -> str:
        return self.driver.execute_script("return location.search")

    def complaints(self) -> list[str]:
        """What the browser wrote to its console since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture
def view(browser: Any, service_url: str) -> View:
    resize(browser, *DESKTOP)
    page = View(browser, service_url)
    page.complaints()
    return page


def resize(driver: Any, width: int, height: int) -> None:
    """Set the size of the page, which may be narrower than a window can be."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def eventually(is_so: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)
