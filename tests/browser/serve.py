#!/usr/bin/env python3
"""Tests the page of nn serve in a real browser: python3 tests/browser/serve.py [PROGRAM]

PROGRAM is nn, by default target/debug/nn. With --screenshots DIR it also writes pictures of the page, and with
--readme FILE the one in the README, which shows a network trained on MNIST:

    python3 tests/browser/serve.py target/release/nn --readme docs/serve.png
"""

import argparse
import base64
import http.client
import json
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

from driver import DOWN, ESCAPE, RIGHT, Browser, check, run_all, until

ONE = [(0.5, 0.15), (0.5, 0.5), (0.49, 0.85)]
SEVEN = [(0.27, 0.22), (0.5, 0.21), (0.72, 0.22), (0.6, 0.45), (0.5, 0.65), (0.42, 0.86)]
BAR_OF_SEVEN = [(0.4, 0.52), (0.66, 0.5)]


class Server:
    """nn serve with a model that was trained for it."""

    def __init__(self, nn, folder, training, *serving):
        self.nn, self.folder = nn, folder
        out = folder / f"run-{abs(hash((training, serving)))}"
        subprocess.run([nn, "train", "--quiet", "--out", out, *training], check=True, cwd=folder)
        self.model = out / "model.safetensors"
        command = [nn, "serve", "--model", self.model, "--listen", "127.0.0.1:0", "--name", "reader", *serving]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
        first = self.process.stdout.readline()
        found = re.search(r"(http://127\.0\.0\.1:(\d+))", first)
        check(f"nn serve says its address, not {first!r}", found)
        self.url, self.port = found[1], int(found[2])

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = None
        self.process.stdout.close()
        if kind is None:
            check(f"nn serve ends with 0, not {code}", code == 0)

    def predict(self, file):
        """What nn predict says of a file: the answers."""
        ran = subprocess.run([self.nn, "predict", "--json", "--model", self.model, file], check=True, cwd=self.folder,
                             stdout=subprocess.PIPE)
        return json.loads(ran.stdout)["predictions"]


def numbers(browser):
    """The numbers beside the bars, by class."""
    rows = browser.run("return [...document.querySelectorAll('#bars li')].map((row) => [row.querySelector('.name')"
                       ".textContent, row.querySelector('.number').textContent])")
    return {name: number.replace("◂", "").strip() for name, number in rows}


def lengths(browser):
    """The lengths of the bars, as parts of the longest that there can be."""
    return browser.run("return [...document.querySelectorAll('#bars .fill')].map((fill) => parseFloat(fill.style.width) / 100)")


def settled(browser):
    """The answer, once the page has nothing more to ask."""
    until("an answer that stays", lambda: browser.run("return document.getElementById('answer').ariaBusy") != "true")
    return browser.text("#answer")


def drawn(browser, folder):
    """The paper as a PNG file."""
    data = browser.run("return document.getElementById('paper').toDataURL('image/png')")
    path = folder / "paper.png"
    path.write_bytes(base64.b64decode(data.split(",")[1]))
    return path


def is_quiet(browser):
    """The page has logged nothing: no error, and nothing that its policy would have blocked."""
    logged = [line for line in browser.logged() if " 401 " not in line and " 400 " not in line]
    check(f"a page without errors, not {logged}", not logged)


def drawing(nn, folder):
    """A network of digits: every stroke moves the bars, and the numbers are those of nn predict."""
    with Server(nn, folder, ("--epochs", "20")) as server, Browser() as browser:
        browser.open(server.url)
        until("the model", lambda: browser.is_shown("#main"))
        check("nothing is drawn yet", browser.text("#answer") == "–")
        check("ten bars without a length", lengths(browser) == [0] * 10)

        browser.stroke("#paper", ONE)
        answer = settled(browser)
        want = server.predict(drawn(browser, folder))[0]
        check(f"the answer of nn predict, {want['class']}, not {answer}", answer.startswith(f"Digit {want['class']} · "))
        first = numbers(browser)
        for name, output in zip(map(str, range(10)), want["outputs"]):
            check(f"class {name} as nn predict has it: {output}, not {first[name]}", first[name] == f"{output:.3f}")
        check(f"bars as long as the numbers: {lengths(browser)}",
              all(abs(length - output) < 1e-4 for length, output in zip(lengths(browser), want["outputs"])))
        check("the framed picture", browser.run("return document.getElementById('seen').width") == 8)
        check("activations of a layer", browser.run("return document.querySelectorAll('#layers canvas').length") == 1)
        check("eight units with pictures", browser.run("return document.querySelectorAll('#reasons canvas').length") == 8)
        check("a layer in words", "units" in browser.text("#layers"))

        browser.stroke("#paper", [(0.2, 0.2), (0.8, 0.25), (0.85, 0.8)])
        settled(browser)
        second = numbers(browser)
        check("a second stroke moves the bars", second != first)
        browser.click("#undo")
        settled(browser)
        check("undone, the numbers are the first ones", numbers(browser) == first)

        # What the class that was clicked rests on, which is another thing than the answer.
        about, other = browser.text("#reasons-about"), (int(want["class"]) + 1) % 10
        bar = f"#bars li:nth-child({other + 1}) button"
        browser.click(bar)
        until("reasons of the class", lambda: browser.text("#reasons-about") != about)
        check("the answer stays", numbers(browser) == first)
        check("it is about that class", f"Digit {other}" in browser.text("#reasons-about"))
        browser.click(bar)
        until("the likeliest again", lambda: browser.text("#reasons-about") == about)

        # The framing undoes a push, so the class stays.
        answer = settled(browser)
        browser.click("[data-trick=push]")
        check("pushed, it is the same digit", settled(browser).split(" · ")[0] == answer.split(" · ")[0])
        browser.click("[data-trick=turn]")
        settled(browser)
        check("turned, the numbers are others", numbers(browser) != first)

        browser.click("#eraser")
        check("the eraser is chosen", browser.run("return document.getElementById('eraser').ariaPressed") == "true")
        for row in range(8):
            browser.stroke("#paper", [(0.02, row / 8 + 0.06), (0.98, row / 8 + 0.06)])
        until("an empty paper", lambda: browser.text("#answer") == "–")
        browser.click("#eraser")

        for pointer in ["touch", "pen"]:
            browser.click("#clear")
            until("an empty paper", lambda: browser.text("#answer") == "–")
            browser.stroke("#paper", ONE, pointer)
            check(f"a stroke by {pointer}", settled(browser) != "–")

        # The keyboard alone: pen down, a line of arrows, pen up.
        browser.run("document.getElementById('paper').focus()")
        browser.press(ESCAPE)
        until("an empty paper", lambda: browser.text("#answer") == "–")
        browser.press(" ", *[DOWN] * 10, " ", *[RIGHT] * 3)
        check("a stroke by keys", settled(browser) != "–")
        want = server.predict(drawn(browser, folder))[0]
        check("its answer", browser.text("#answer").startswith(f"Digit {want['class']} · "))

        browser.click("#clear")
        browser.keys("#file", str(drawn_file(folder)))
        until("the answer to a file", lambda: browser.text("#answer") != "–")
        want = server.predict(drawn_file(folder))[0]
        settled(browser)
        check("a file is answered as by nn predict", numbers(browser)[want["class"]] == f"{want['probability']:.3f}")
        (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
        browser.keys("#file", str(folder / "bad.png"))
        until("a message", lambda: "damaged" in browser.text("#trouble"))
        browser.stroke("#paper", ONE)
        until("no message any more", lambda: not browser.is_shown("#trouble"))

        foreign = browser.run("return performance.getEntriesByType('resource').map((one) => one.name)"
                              ".filter((name) => !name.startsWith(location.origin))")
        check(f"nothing from elsewhere: {foreign}", not foreign)
        narrow(browser)
        is_quiet(browser)


def drawn_file(folder):
    """The picture of a one that was drawn, in a file of its own."""
    path = folder / "one.png"
    if not path.exists():
        path.write_bytes((folder / "paper.png").read_bytes())
    return path


def narrow(browser):
    """On a narrow phone nothing sticks out, in the light and in the dark."""
    colour = lambda: browser.run("return getComputedStyle(document.querySelector('.card')).backgroundColor")
    browser.colours("light")
    light = colour()
    browser.colours("dark")
    check("another colour in the dark", colour() != light)
    for width in [320, 360, 700]:
        browser.size(width, 740)
        wide = browser.run("return document.documentElement.scrollWidth")
        check(f"a page of {width} pixels, not {wide}", wide <= width)


def table(nn, folder):
    """A network of a table: the form asks, and a file with many rows is answered."""
    rows = "".join(f"{i % 7}.5,{['red', 'green'][i % 2]},{3 * (i % 7) + 10 * (i % 2)}.25\n" for i in range(120))
    (folder / "t.csv").write_text("size,colour,price\n" + rows)
    (folder / "new.csv").write_text("colour,size\nred,2\ngreen,5\nred,6\n")
    training = ("--data", "t.csv", "--epochs", "30")
    with Server(nn, folder, training) as server, Browser() as browser:
        browser.open(server.url)
        until("the form", lambda: browser.is_shown("#table"))
        check("no paper", not browser.is_shown("#paper"))
        check("its columns", browser.texts("#fields label") == ["size", "colour"])
        first = settled(browser)
        check(f"a number, not {first}", float(first))
        browser.run("const one = document.querySelector('#fields input'); one.value = '6';"
                    "one.dispatchEvent(new Event('input'))")
        check("another size has another price", settled(browser) != first)
        browser.keys("#file", str(folder / "new.csv"))
        until("rows", lambda: browser.is_shown("#results"))
        cells = browser.texts("#results td")
        want = server.predict("new.csv")
        check(f"an answer a row, not {cells}", cells[::2] == ["0", "1", "2"])
        for got, one in zip(cells[1::2], want):
            check(f"{got} as nn predict has it: {one}", abs(float(got) - one["outputs"][0]) <= 1e-5 * abs(float(got)))
        narrow(browser)
        is_quiet(browser)


def token(nn, folder):
    """Without the token the page asks for it; with it the page works."""
    (folder / "token").write_text("correct-horse-battery\n")
    (folder / "token").chmod(0o600)
    with Server(nn, folder, ("--epochs", "1"), "--token-file", "token") as server, Browser() as browser:
        browser.open(server.url)
        until("the question for the token", lambda: browser.is_shown("#gate"))
        check("no model without it", not browser.is_shown("#main"))
        browser.keys("#token", "wrong-horse-battery")
        browser.click("#enter")
        until("a message", lambda: "token is wrong" in browser.text("#trouble"))
        browser.run("document.getElementById('token').value = ''")
        browser.keys("#token", "correct-horse-battery")
        browser.click("#enter")
        until("the model", lambda: browser.is_shown("#main"))
        browser.stroke("#paper", ONE)
        check("it answers", settled(browser) != "–")
        is_quiet(browser)


def seven(browser):
    """Draws a seven, as people do."""
    browser.stroke("#paper", SEVEN)
    browser.stroke("#paper", BAR_OF_SEVEN)
    settled(browser)


def screenshots(nn, folder, to, training):
    """Writes pictures of the page: light, dark and narrow, and of a table."""
    to.mkdir(parents=True, exist_ok=True)
    with Server(nn, folder, training) as server, Browser() as browser:
        browser.open(server.url)
        until("the model", lambda: browser.is_shown("#main"))
        seven(browser)
        for scheme in ["light", "dark"]:
            browser.colours(scheme)
            settled(browser)
            browser.screenshot(to / f"{scheme}.png", whole=True)
            browser.size(360, 740, 2)
            browser.screenshot(to / f"{scheme}-360.png", whole=True)
            browser.size(1100, 1000)
    rows = "".join(f"{i % 7}.5,{['red', 'green'][i % 2]},{['yes', 'no'][i % 5 // 3]}\n" for i in range(120))
    (folder / "flowers.csv").write_text("size,colour,verdict\n" + rows)
    with Server(nn, folder, ("--data", "flowers.csv", "--epochs", "5")) as server, Browser() as browser:
        browser.open(server.url)
        until("the form", lambda: browser.is_shown("#table"))
        settled(browser)
        browser.screenshot(to / "table.png", whole=True)


def readme(nn, folder, path):
    """Writes the picture of the README."""
    with Server(nn, folder, ("--data", "mnist", "--hidden", "64", "--epochs", "5", "--seed", "1")) as server:
        with Browser(1000, 910) as browser:
            browser.open(server.url)
            until("the model", lambda: browser.is_shown("#main"))
            seven(browser)
            browser.run("document.activeElement.blur(); window.scrollTo(0, 0)")
            browser.screenshot(path)


def main():
    parser = argparse.ArgumentParser(description="Tests the page of nn serve in a real browser.")
    parser.add_argument("nn", nargs="?", default="target/debug/nn", help="the program (target/debug/nn)")
    parser.add_argument("--screenshots", metavar="DIR", type=pathlib.Path, help="write pictures of the page to a folder, and test nothing")
    parser.add_argument("--training", metavar="OPTIONS", default="--epochs 20", help="how to train the network in the pictures")
    parser.add_argument("--readme", metavar="FILE", type=pathlib.Path, help="write the picture of the README, and test nothing")
    options = parser.parse_args()
    nn = pathlib.Path(options.nn).resolve()
    if not nn.exists():
        sys.exit(f"there is no {options.nn}: build it with cargo build, or name another")
    with tempfile.TemporaryDirectory(prefix="nn-serve-") as folder:
        folder = pathlib.Path(folder)
        if options.screenshots or options.readme:
            if options.screenshots:
                screenshots(nn, folder, options.screenshots.resolve(), tuple(options.training.split()))
            if options.readme:
                readme(nn, folder, options.readme.resolve())
            return
        run_all([drawing, table, token], nn, folder)


if __name__ == "__main__":
    main()
