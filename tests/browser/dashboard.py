#!/usr/bin/env python3
"""Tests the dashboard in a real browser: python3 tests/browser/dashboard.py [PROGRAM]

PROGRAM is nn, by default target/debug/nn; nn-coord and nn-worker lie beside it. With --readme FILE it writes the picture in the
README, a cluster that learns MNIST and loses a worker:

    python3 tests/browser/dashboard.py target/release/nn --readme docs/dashboard.png
"""

import argparse
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from driver import Browser, Failed, check, run_all, until


class Program:
    """A program of ours that runs until it is told to end."""

    def __init__(self, folder, *command, said=r"(https?://127\.0\.0\.1:\d+)"):
        self.log = tempfile.NamedTemporaryFile("w+", dir=folder, suffix=".log", delete=False)
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=folder, text=True)
        self.url = until(f"{pathlib.Path(command[0]).name} to say {said}", lambda: self.said(said)) if said else None

    def said(self, pattern):
        found = re.search(pattern, pathlib.Path(self.log.name).read_text())
        if not found and self.process.poll() is not None:
            raise Failed(f"it ended: {pathlib.Path(self.log.name).read_text()}")
        return found and found[1]

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()


LOOK = r"look at the run: (\S+)"


def has(browser, selector):
    """Whether there is such an element."""
    return browser.run("return document.querySelector(arguments[0]) !== null", selector)


def epochs(folder):
    """The lines of epochs of a run."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == "epoch"]


def table(browser, chart):
    """The numbers of a chart by the name of the column, as the page shows them."""
    browser.run("document.querySelector(`#chart-${arguments[0]} details`).open = true", chart)
    rows = f"#chart-{chart} tbody tr"
    until(f"numbers of {chart}", lambda: browser.run("return document.querySelectorAll(arguments[0]).length", rows))
    names = browser.texts(f"#chart-{chart} thead th")
    cells = browser.run("return [...document.querySelectorAll(arguments[0])].map((row) => [...row.cells].map((cell) => cell.textContent))", rows)
    return {name: [row[place] for row in cells] for place, name in enumerate(names)}


def is_quiet(browser):
    """The page has logged nothing: no error, and nothing that its policy would have blocked."""
    logged = [line for line in browser.logged() if " 401 " not in line and " 404 " not in line and "ERR_" not in line]
    check(f"a page without errors, not {logged}", not logged)


def same_numbers(browser, run):
    """The numbers of the curves are those of the run's log, digit for digit. Gives the number of epochs."""
    loss, accuracy, gradient = table(browser, "loss"), table(browser, "accuracy"), table(browser, "gradient")
    # The page cannot know more than the log has now.
    lines, count = epochs(run), len(loss["epoch"])
    check(f"curves of {count} epochs", 0 < count <= len(lines) and count < 2000)  # of more, a table has the last
    for place, line in enumerate(lines[:count]):
        check("the epoch", int(loss["epoch"][place]) == line["epoch"])
        for name in ["train", "test"]:
            check(f"{name} loss of epoch {line['epoch']}", float(loss[name][place]) == line[f"{name}_loss"])
        check(f"accuracy of epoch {line['epoch']}", float(accuracy["test"][place]) == line["test_accuracy"] * 100)
        for layer, norm in enumerate(line["gradient_norm"]):
            check(f"gradient of epoch {line['epoch']}", float(gradient[f"layer {layer + 1}"][place]) == norm)
    return count


def live(nn, folder):
    """A run as it goes: its numbers are those of metrics.jsonl, before and after a reload, and after its end."""
    run = folder / "live"
    with Browser() as browser:
        with Program(folder, nn, "train", "--hidden", "200,100", "--epochs", "3000", "--out", run, "--dashboard", "127.0.0.1:0", said=LOOK) as training:
            browser.open(training.url)
            until("three epochs", lambda: browser.run("return Number(document.querySelector('#runs td:nth-child(2)')?.textContent.split('/')[0] ?? 0) >= 3"))
            check("the run is shown as running", "running" in browser.texts("#runs td"))
            seen = same_numbers(browser, run)
            until("a network", lambda: browser.is_shown("#confusion"))
            browser.open(training.url)  # a reload
            until("the history again", lambda: has(browser, "#chart-loss"))
            check("no epoch is lost by a reload", same_numbers(browser, run) >= seen)
            check("it runs on whatever browsers do", training.process.poll() is None)
            is_quiet(browser)
            # The end of the run is shown before its server goes.
            check("nn train ends with 0", training.end() == 0)
            until("the end", lambda: "has ended" in browser.text("#link"))
            until("the state at the end", lambda: "stopped" in browser.texts("#runs td"))
            until("every epoch", lambda: same_numbers(browser, run) == len(epochs(run)))
            # Resumed at the same address, it goes on where it was.
            address = training.url.removeprefix("http://")
        resume = [nn, "train", "--resume", "--out", run, "--dashboard", address]
        with Program(folder, *resume, said=LOOK) as resumed:
            until("the link again", lambda: browser.text("#link") == "Live")
            until("the resumption", lambda: "The run was resumed" in browser.text("#events"))
            resumed.end()


def finished(nn, folder):
    """Runs that are over, side by side: what differs is on top, confusions lead to samples, and weights are drawn."""
    for name, rate in [("slow", "0.5"), ("fast", "3")]:
        subprocess.run([nn, "train", "--quiet", "--epochs", "4", "--learning-rate", rate, "--out", folder / "over" / name], check=True)
    with Program(folder, nn, "dashboard", folder / "over", "--listen", "127.0.0.1:0") as shown, Browser() as browser:
        browser.open(shown.url)
        until("two runs", lambda: browser.text("#title") == "2 runs")
        until("their curves", lambda: has(browser, "#chart-loss-test"))
        check("the option in which they differ", "--learning-rate" in browser.texts("#runs th"))
        check("no option in which they agree", "--epochs" not in browser.texts("#runs th"))
        summary = json.loads((folder / "over/fast/summary.json").read_text())
        fast = browser.run("return [...document.querySelectorAll('#runs tbody tr')].find((row) => row.textContent.includes('fast'))"
                           ".querySelector('[data-figure=test_accuracy]').dataset.value")
        check(f"the accuracy of the summary, not {fast}", float(fast) == summary["test_accuracy"])
        curves = table(browser, "loss-test")
        for name in ["slow", "fast"]:
            want = [line["test_loss"] for line in epochs(folder / "over" / name)]
            check(f"curve of {name}", [float(loss) for loss in curves[f"over/{name}"]] == want)

        # The confusion matrix is that of nn eval, and a cell leads to its samples.
        browser.run("const of = document.getElementById('of'); of.value = 0; of.dispatchEvent(new Event('change'))")
        first = browser.run("return document.querySelector('#of option').textContent").split("/")[1]
        ran = subprocess.run([nn, "eval", "--json", "--model", folder / "over" / first / "model.safetensors"], check=True, stdout=subprocess.PIPE)
        want = json.loads(ran.stdout)["classification"]["confusion"]
        rows = "return [...document.querySelectorAll('#confusion tbody tr')].map((row) => [...row.querySelectorAll('td')].map((cell) => Number(cell.textContent)))"
        until("the confusions of nn eval", lambda: browser.run(rows) == want)
        truth, predicted = next((t, p) for t in range(10) for p in range(10) if t != p and want[t][p])
        cell = f"#confusion tbody tr:nth-child({truth + 1}) td:nth-child({predicted + 2}) button"
        browser.run("document.querySelector(arguments[0]).focus()", cell)
        browser.press("\ue007")  # Enter: the keyboard is enough
        until("its samples", lambda: browser.is_shown("#cell"))
        tiles = browser.texts("#cell-samples li div:first-of-type")
        check(f"{want[truth][predicted]} samples of {truth} taken for {predicted}", tiles == [f"{truth} → {predicted}"] * want[truth][predicted])
        check("30 units", browser.run("return document.querySelectorAll('#units canvas').length") == 30)
        check("mistakes with pictures", browser.run("return document.querySelectorAll('#mistakes canvas').length") > 0)

        # A run is put away and taken back.
        browser.click("#runs tbody tr:first-child input")
        until("the curves of one run", lambda: has(browser, "#chart-loss"))
        browser.click("#runs tbody tr:first-child input")
        until("those of both", lambda: has(browser, "#chart-loss-test"))

        for width in [320, 1100]:
            browser.size(width, 800)
            until(f"a page that fits {width} pixels", lambda: browser.run("return document.documentElement.scrollWidth <= innerWidth"))
        # A new run in the folder appears, and one that is removed does no harm.
        subprocess.run([nn, "train", "--quiet", "--epochs", "1", "--out", folder / "over" / "late"], check=True)
        until("a third run", lambda: browser.text("#title") == "3 runs")
        shutil.rmtree(folder / "over" / "late")
        time.sleep(1)
        is_quiet(browser)
        check("nn dashboard ends with 0", shown.end() == 0)


def cluster(nn, folder):
    """A cluster that loses a worker: the table, the time line and the log say so."""
    coord, worker = nn.with_name("nn-coord"), nn.with_name("nn-worker")
    run = folder / "cluster"
    command = [coord, "--listen", "127.0.0.1:0", "--threads", "0", "--min-workers", "2", "--epochs", "5000", "--out", run, "--dashboard", "127.0.0.1:0"]
    with Program(folder, *command, said=LOOK) as training, Browser() as browser:
        address = until("its address", lambda: training.said(r"--coordinator (http://\S+)"))
        join = lambda name: Program(folder, worker, "--coordinator", address, "--name", name, said=None)
        with join("ada"), join("grace") as grace:
            browser.open(training.url)
            until("both workers", lambda: sorted(browser.run("return [...document.querySelectorAll('#workers [data-worker]')].map((row) => row.dataset.worker)")) == ["ada", "grace"])
            until("an epoch", lambda: has(browser, "#chart-loss"))
            grace.end(signal.SIGKILL)
            until("the death", lambda: has(browser, "#events [data-event=left][data-worker=grace]"))
            until("the table without it", lambda: browser.texts("#workers tbody th") and all(text.startswith("ada") for text in browser.texts("#workers tbody th")))
            until("what it waits for", lambda: "waiting for" in browser.text("#cluster-text"))
            with join("alan"):
                until("its successor", lambda: has(browser, "#events [data-event=joined][data-worker=alan]"))
                lines = lambda: map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
                until("the same in the log", lambda: any(line.get("event") == "left" and line["worker"] == "grace" for line in lines()))
                is_quiet(browser)
                training.end()


def token(nn, folder):
    """With a token, nothing is shown without it."""
    (folder / "token").write_text("0123456789abcdef0123456789abcdef\n")
    subprocess.run([nn, "train", "--quiet", "--epochs", "1", "--out", folder / "secret"], check=True)
    with Program(folder, nn, "dashboard", folder / "secret", "--listen", "127.0.0.1:0", "--token-file", folder / "token") as shown, Browser() as browser:
        browser.open(shown.url)
        until("the gate", lambda: browser.is_shown("#gate"))
        check("nothing else", not browser.is_shown("#main"))
        browser.keys("#token", "wrong")
        browser.click("#enter")
        until("the gate again", lambda: browser.run("return document.activeElement.id") == "token" and browser.is_shown("#gate"))
        browser.keys("#token", "0123456789abcdef0123456789abcdef")
        browser.click("#enter")
        until("the run", lambda: browser.is_shown("#main"))
        until("its network", lambda: browser.is_shown("#confusion"))
        is_quiet(browser)


def readme(nn, folder, path):
    """Writes the picture of the README."""
    coord, worker = nn.with_name("nn-coord"), nn.with_name("nn-worker")
    command = [coord, "--listen", "127.0.0.1:0", "--threads", "0", "--min-workers", "2", "--data", "mnist", "--hidden", "100", "--epochs", "12",
               "--out", "runs/mnist", "--dashboard", "127.0.0.1:0"]
    with Program(folder, *command, said=LOOK) as training, Browser(1100, 1240) as browser:
        address = until("its address", lambda: training.said(r"--coordinator (http://\S+)"))
        join = lambda name: Program(folder, worker, "--coordinator", address, "--threads", "1", "--name", name, said=None)
        with join("ada"), join("grace"), join("alan") as alan:
            browser.open(training.url)
            done = lambda count: lambda: browser.run("return document.querySelectorAll('#chart-loss tbody tr').length") >= count
            until("an epoch", lambda: has(browser, "#chart-loss"), 300)
            browser.run("document.querySelector('#chart-loss details').open = true")
            until("four epochs", done(4), 600)
            alan.end(signal.SIGKILL)
            until("nine epochs", done(9), 600)
            browser.run("document.querySelector('#chart-loss details').open = false; document.activeElement.blur(); window.scrollTo(0, 0)")
            time.sleep(1)
            browser.screenshot(path)
            training.end()


def main():
    parser = argparse.ArgumentParser(description="Tests the dashboard in a real browser.")
    parser.add_argument("nn", nargs="?", default="target/debug/nn", help="the program (target/debug/nn)")
    parser.add_argument("--readme", metavar="FILE", type=pathlib.Path, help="write the picture of the README, and test nothing")
    parser.add_argument("--only", metavar="TEST", help="run one test: live, finished, cluster or token")
    options = parser.parse_args()
    nn = pathlib.Path(options.nn).resolve()
    if not nn.exists():
        sys.exit(f"there is no {options.nn}: build it with cargo build, or name another")
    with tempfile.TemporaryDirectory(prefix="nn-dashboard-") as folder:
        folder = pathlib.Path(folder)
        if options.readme:
            readme(nn, folder, options.readme.resolve())
            return
        run_all([test for test in [live, finished, cluster, token] if options.only in (None, test.__name__)], nn, folder)


if __name__ == "__main__":
    main()
