#!/usr/bin/env python3
"""Checks the flags and paths in deploy/ against the programs and the tree.

    check-flags.py FOLDER-OF-PROGRAMS DEPLOY FILE...

Every --flag that a file gives to nn, nn-coord or nn-worker must be in that command's --help, and every path below deploy/ that
a file names must exist. Files may be rendered manifests.
"""

import pathlib
import re
import subprocess
import sys

SUBCOMMANDS = "train eval predict serve replay fetch status certs doctor bench".split()
# The name of one of our programs, with or without a path, in a shell, a unit or prose. After a kind it is the name of a Kubernetes
# object, and does not count.
COMMAND = re.compile(r"(?<![\w.@/-])(?<!deployment )(?<!statefulset )(?:/\S*/|\./)?(nn-coord|nn-worker|nn)(?=[\s,\"'\]])")
# The end of a command: another command, a comment, a pipe, or the end of inline code.
END = re.compile(r"[|;&`<>#]")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def help_of(programs, command, cache={}):
    """The flags of a command, or None if there is no such command."""
    if command not in cache:
        words = [str(programs / command[0]), *command[1:], "--help"]
        run = subprocess.run(words, capture_output=True, text=True)
        cache[command] = set(FLAG.findall(run.stdout)) if run.returncode == 0 else None
    return cache[command]


def commands(text):
    """The commands in a text, each with the number of its first line. A backslash at its end continues a line."""
    number = 0
    lines = iter(text.splitlines())
    for line in lines:
        number += 1
        first, whole = number, line
        while whole.rstrip().endswith("\\"):
            number += 1
            whole = whole.rstrip()[:-1] + " " + next(lines, "")
        found = list(COMMAND.finditer(whole))
        for match, after in zip(found, found[1:] + [None]):
            rest = whole[match.end() : after.start() if after else None]
            end = END.search(rest)
            yield first, match.group(1), rest[: end.start()] if end else rest


def manifest_commands(text):
    """The commands of rendered manifests: each list below command and args as one line."""
    import yaml

    def walk(node):
        if isinstance(node, dict):
            words = list(node.get("command") or []) + list(node.get("args") or [])
            if words and isinstance(words[0], str) and words[0].startswith("nn"):
                yield 0, words[0], " " + " ".join(words[1:])
            for value in node.values():
                yield from walk(value)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value)

    for document in yaml.safe_load_all(text):
        yield from walk(document)


def main():
    programs, deploy = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    wrong, flags_seen, paths_seen = [], 0, 0
    for name in sys.argv[3:]:
        path = pathlib.Path(name)
        text = path.read_text()
        rendered = path.suffix == ".yaml" and "kind: StatefulSet" in text
        for line, program, rest in manifest_commands(text) if rendered else commands(text):
            command = (program,)
            words = rest.replace(",", " ").split()
            if program == "nn":
                if not words or words[0] not in SUBCOMMANDS:
                    continue  # prose, or an image of that name
                command += (words[0],)
                if words[0] == "certs" and len(words) > 1 and words[1] in "init worker coordinator token show".split():
                    command += (words[1],)
            known = help_of(programs, command)
            if known is None:
                wrong.append(f"{name}:{line}: there is no {' '.join(command)}")
                continue
            for flag in FLAG.findall(rest):
                flags_seen += 1
                if flag not in known:
                    wrong.append(f"{name}:{line}: {' '.join(command)} has no {flag}")
        if path.suffix == ".md":
            for match in re.finditer(r"(?<![\w/])deploy/[\w./@-]*[\w]", text):
                paths_seen += 1
                # The reader makes these files, and Git ignores them.
                made = re.search(r"overlays/token/token|overlays/mtls/certs", match.group())
                if not made and not (deploy.parent / match.group()).exists():
                    line = text.count("\n", 0, match.start()) + 1
                    wrong.append(f"{name}:{line}: there is no {match.group()}")
    for text in wrong:
        print(text, file=sys.stderr)
    print(f"{flags_seen} flags and {paths_seen} paths checked, {len(wrong)} wrong")
    return bool(wrong) or flags_seen == 0


sys.exit(main())
