"""A browser for tests: Chromium, driven through chromedriver by the WebDriver protocol, with Python's standard library only.

    with Browser() as browser:
        browser.open("http://127.0.0.1:8080")
        browser.click("#clear")
        assert browser.text("#answer") == "–"

Each browser has a profile folder of its own, which is deleted with it. It needs Debian's packages chromium and chromium-driver,
or programs of these names; CHROMIUM and CHROMEDRIVER name others.
"""

import base64
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

PATIENCE = 30  # seconds for any wait, generous for a busy machine
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's name for a reference to an element


class Failed(AssertionError):
    """What a page or the browser did not do."""


def until(what, ready, patience=PATIENCE):
    """Waits until `ready` returns something true, and returns it."""
    end = time.monotonic() + patience
    while True:
        found = ready()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"waited in vain for {what}")
        time.sleep(0.05)


def check(what, truth):
    """Fails unless it is true."""
    if not truth:
        raise Failed(what)


def run_all(tests, *arguments):
    """Runs all tests, whatever becomes of each, and exits with 1 if one has failed."""
    failed = 0
    for test in tests:
        try:
            test(*arguments)
            print(f"ok      {test.__name__}: {test.__doc__}")
        except Exception:  # the others are run all the same
            failed += 1
            traceback.print_exc()
            print(f"FAILED  {test.__name__}: {test.__doc__}")
    sys.exit(failed > 0)


def program(variable, *names):
    """The path of a program that a variable names, or of the first one that is installed."""
    for name in [os.environ.get(variable), *names]:
        path = name and shutil.which(name)
        if path:
            return path
    raise SystemExit(f"{names[0]} is missing: install it, or name it with {variable}")


class Browser:
    """A headless Chromium. Elements are named by CSS selectors."""

    def __init__(self, width=1100, height=1000):
        self.folder = tempfile.mkdtemp(prefix="nn-browser-")
        driver = program("CHROMEDRIVER", "chromedriver")
        # In a session of its own, so that nothing of it survives this one.
        self.driver = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, text=True
        )
        try:
            self.port = self._port()
            arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
                         "--disable-background-networking", "--no-proxy-server", "--force-device-scale-factor=1",
                         f"--user-data-dir={self.folder}/profile", f"--window-size={width},{height}"]
            if os.geteuid() == 0:
                arguments.append("--no-sandbox")  # it refuses to run as root with one
            options = {"args": arguments, "binary": program("CHROMIUM", "chromium", "chromium-browser", "google-chrome")}
            wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
            self.session = self._send("POST", "/session", {"capabilities": wanted})["sessionId"]
            self.size(width, height)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the browser and deletes its profile."""
        try:
            if getattr(self, "session", None):
                self._send("DELETE", f"/session/{self.session}")
        except (OSError, Failed, http.client.HTTPException):
            pass  # it is killed below
        try:
            os.killpg(self.driver.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.driver.wait()
        self.driver.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _port(self):
        for line in self.driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                return int(found[1])
        raise Failed("chromedriver does not start")

    def _send(self, method, path, body=None):
        # Not urllib: it would ask a proxy that the environment names.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(answer, dict) and "error" in answer and "message" in answer:
            raise Failed(f"{answer['error']}: {answer['message']}")
        return answer

    def _do(self, method, path, body=None):
        return self._send(method, f"/session/{self.session}{path}", body)

    # Pages

    def open(self, url):
        """Opens an address and waits until it is loaded."""
        self._do("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """Runs the body of a function in the page, and returns what it returns (or what its promise resolves to)."""
        return self._do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, command, **parameters):
        """A command of the DevTools protocol."""
        return self._do("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height, scale=1):
        """Gives the page this size, as on a phone if it is narrow."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                      mobile=width < 600)

    def colours(self, scheme):
        """What the user prefers: light or dark."""
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def logged(self):
        """What the page has logged since the last call: errors, and what its policy has blocked."""
        return [entry["message"] for entry in self._do("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path, whole=False):
        """Writes what can be seen, or the whole page, as PNG."""
        picture = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture["data"]))

    # Elements

    def find(self, selector):
        """The reference to an element."""
        return self._do("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        """Clicks an element, which must be visible."""
        self._do("POST", f"/element/{self.find(selector)}/click", {})

    def keys(self, selector, text):
        """Types into an element; for one of files, `text` is a path."""
        self._do("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def text(self, selector):
        """The text of an element as it is shown."""
        return self._do("GET", f"/element/{self.find(selector)}/text")

    def texts(self, selector):
        """The texts of all elements of a kind."""
        return self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent.trim())", selector)

    def is_shown(self, selector):
        """Whether an element can be seen."""
        return self._do("GET", f"/element/{self.find(selector)}/displayed")

    def box(self, selector):
        """Left, top, width and height of an element in the window, once it is scrolled into view."""
        return self.run(
            "const one = document.querySelector(arguments[0]); one.scrollIntoView({ block: 'center' });"
            "const box = one.getBoundingClientRect(); return [box.left, box.top, box.width, box.height]", selector)

    def stroke(self, selector, places, pointer="mouse", button=0):
        """Draws a line through places of an element, given as parts of its width and height: with a mouse, touch or pen."""
        left, top, width, height = self.box(selector)
        there = [(round(left + x * width), round(top + y * height)) for x, y in places]
        move = lambda place, time: {"type": "pointerMove", "x": place[0], "y": place[1], "duration": time, "origin": "viewport"}
        actions = [move(there[0], 0), {"type": "pointerDown", "button": button}]
        actions += [move(place, 40) for place in there[1:]]
        actions.append({"type": "pointerUp", "button": button})
        source = {"type": "pointer", "id": pointer, "parameters": {"pointerType": pointer}, "actions": actions}
        self._do("POST", "/actions", {"actions": [source]})

    def press(self, *keys):
        """Presses keys where the focus is, one after the other. WebDriver's codes are those above U+E000."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})


LEFT, UP, RIGHT, DOWN, ESCAPE = "\ue012", "\ue013", "\ue014", "\ue015", "\ue00c"
