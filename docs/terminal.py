"""Runs nn in a real terminal and draws the screen as docs/terminal.svg, the picture in the README.

Run:   cargo build --release
       python3 docs/terminal.py            first `pip install pyte` in a venv

The commands run in a pseudo-terminal with 24-bit colours; pyte interprets what they write. The epochs in the middle are cut
out, and a line says how many. The picture needs no fonts of its own: blocks are drawn as rectangles.
"""

import argparse
import fcntl
import os
import pty
import re
import struct
import tempfile
import termios
from html import escape
from pathlib import Path

import pyte

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release"
COMMANDS = ("nn train", "nn predict --model runs/digits/model.safetensors --data digits --count 1")
COLUMNS, LINES = 118, 100
EPOCHS_SHOWN = 3  # at the start, and at the end

WIDTH, HEIGHT, SIZE, MARGIN = 8.4, 17, 14, 14  # of a cell, of the letters, and around the screen, in pixels
BACKGROUND, FOREGROUND, DIM = "#0d1117", "#c9d1d9", "#8b949e"
NAMED = {
    "default": FOREGROUND, "black": "#484f58", "red": "#ff7b72", "green": "#3fb950", "brown": "#d29922",
    "blue": "#58a6ff", "magenta": "#bc8cff", "cyan": "#39c5cf", "white": "#b1bac4",
}
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
# Block elements as rectangles in a cell of 1 × 1: left, top, width, height.
BLOCKS = {"█": (0, 0, 1, 1), "▀": (0, 0, 1, 0.5), "▄": (0, 0.5, 1, 0.5)}
BLOCKS |= {char: (0, 0, eighths / 8, 1) for eighths, char in enumerate("▏▎▍▌▋▊▉", 1)}


def run(command, folder, environment):
    """The bytes that a command writes to a terminal."""
    words = command.split()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        # Wait for the parent to set the size of the terminal.
        os.read(0, 1)
        os.execvpe(words[0], words, environment)
    attributes = termios.tcgetattr(terminal)
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    os.write(terminal, b"\n")
    written = b""
    try:
        while chunk := os.read(terminal, 1 << 16):
            written += chunk
    except OSError:  # Linux reports the end of a terminal as an error
        pass
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        raise SystemExit(f"`{command}` exited with code {code}:\n{written.decode()}")
    return written


def screen(programs):
    """The rows of the terminal after all commands: a list of cells for each."""
    terminal = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(terminal)
    environment = {
        "HOME": "/nonexistent", "LANG": "C.UTF-8", "TERM": "xterm-256color", "COLORTERM": "truecolor",
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    dim = "38;2;" + ";".join(str(int(DIM[at : at + 2], 16)) for at in (1, 3, 5))
    with tempfile.TemporaryDirectory() as folder:
        for number, command in enumerate(COMMANDS):
            prompt = ("\r\n" if number else "") + f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m\r\n"
            # pyte does not know faint letters, so they become grey.
            written = run(command, folder, environment).replace(b"\x1b[2m", f"\x1b[{dim}m".encode())
            stream.feed(prompt.encode() + written)
    if terminal.cursor.y >= LINES - 1:
        raise SystemExit("the output does not fit: raise LINES")
    return [[terminal.buffer[y][x] for x in range(COLUMNS)] for y in range(terminal.cursor.y)]


def text_of(row):
    return "".join(cell.data for cell in row).rstrip()


def shorten(rows):
    """Replaces the epochs in the middle by a line that counts them."""
    epochs = [y for y, row in enumerate(rows) if re.match(r"epoch +\d+/", text_of(row))]
    cut = epochs[EPOCHS_SHOWN:-EPOCHS_SHOWN]
    if not cut:
        return rows
    blank = rows[0][0]._replace(data=" ", fg=DIM[1:], bold=False)
    note = [blank._replace(data=char) for char in f"… {len(cut)} more epochs".ljust(COLUMNS)]
    return rows[: cut[0]] + [note] + rows[cut[-1] + 1 :]


def colour(name, default):
    if name == "default":
        return default
    return NAMED.get(name.removeprefix("bright"), f"#{name}")


def rectangle(x, y, part, fill):
    left, top, width, height = part
    box = (MARGIN + (x + left) * WIDTH, MARGIN + (y + top) * HEIGHT, width * WIDTH, height * HEIGHT)
    x, y, width, height = (f"{value:.2f}".rstrip("0").rstrip(".") for value in box)
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}"/>'


def runs(cells):
    """Consecutive cells that look alike: (first column, cells)."""
    start = 0
    for x in range(1, len(cells) + 1):
        if x == len(cells) or cells[x] != cells[start]:
            yield start, cells[start:x]
            start = x


def draw(rows):
    """The screen as SVG."""
    boxes, letters = [], []
    for y, row in enumerate(rows):
        for x, (cell, *more) in runs([(c.data if c.data in BLOCKS else " ", c.fg, c.bg) for c in row]):
            data, fg, bg = cell
            count = 1 + len(more)
            if bg != "default":
                boxes.append(rectangle(x, y, (0, 0, count, 1), colour(bg, BACKGROUND)))
            if data in BLOCKS:
                left, top, width, height = BLOCKS[data]
                whole = width == 1
                for column in [x] if whole else range(x, x + count):
                    part = (left, top, count if whole else width, height)
                    boxes.append(rectangle(column, y, part, colour(fg, FOREGROUND)))
        for x, cells in runs([(c.fg, c.bold) for c in row]):
            text = "".join(" " if c.data in BLOCKS else c.data for c in row[x : x + len(cells)])
            # Words keep their columns whatever the font, as each is placed and stretched on its own.
            for word in re.finditer(r"\S+(?: \S+)*", text):
                fg, bold = cells[0]
                at = f'x="{MARGIN + (x + word.start()) * WIDTH:.1f}" y="{MARGIN + y * HEIGHT + 13}"'
                style = (f' fill="{colour(fg, FOREGROUND)}"' if fg != "default" else "") + (' font-weight="bold"' if bold else "")
                letters.append(f'<text {at} textLength="{len(word.group()) * WIDTH:.1f}"{style}>{escape(word.group())}</text>')
    width, height = (round(2 * MARGIN + size) for size in (COLUMNS * WIDTH, len(rows) * HEIGHT))
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{escape(' and '.join(COMMANDS))} in a terminal</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
        '<g shape-rendering="crispEdges">', *boxes, "</g>",
        f'<g font-family="{FONT}" font-size="{SIZE}" fill="{FOREGROUND}">', *letters, "</g>", "</svg>", "",
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=Path, default=PROGRAMS, help="the folder with nn")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "terminal.svg")
    options = parser.parse_args()
    if not (options.programs / "nn").exists():
        raise SystemExit(f"there is no nn in {options.programs}; run `cargo build --release` or give --programs")
    picture = draw(shorten(screen(options.programs.resolve())))
    options.out.write_text(picture)
    print(f"{options.out}: {len(picture.encode()):,} bytes")


if __name__ == "__main__":
    main()
