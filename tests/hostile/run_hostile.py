#!/usr/bin/env python3
"""Runs the osprey program on every hostile file that make_hostile.py wrote.

    run_hostile.py OSPREY FOLDER

Each must end with the right exit status and say exactly one line on stderr,
"osprey: FILE: what is wrong: what to do", and nothing on stdout (detect may have begun its table);
within 20 seconds.
"""
import json
import os
import subprocess
import sys
import tempfile

SECONDS = 20
BAD_INPUT, UNSUPPORTED = 3, 4


def exit_of(status):
    return {"OK": 0, "UNSUPPORTED": UNSUPPORTED}.get(status, BAD_INPUT)


def command(program, folder, row, scratch):
    """The command that meets the file, and the file as the program names it."""
    path = os.path.join(folder, row["file"])
    good = os.path.join(folder, "good.onnx")
    verb = row["verb"]
    if verb == "open":
        return [program, "inspect", path], path
    if verb == "build":
        return [program, "build", path, "--backend", "reference", "-o",
                os.path.join(scratch, "out.plan")], path
    run = [program, "run", good, "--backend", "reference", "--input", "x=" + path,
           "--output-dir", os.path.join(scratch, "out")]
    if verb == "tensor":
        return run, path
    detector = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "heads",
                            "end2end_nc1.onnx")
    return [program, "detect", detector, path, "--backend", "reference", "-o",
            os.path.join(scratch, "out")], path


def check(program, folder, row, scratch):
    """The complaints about one file."""
    arguments, path = command(program, folder, row, scratch)
    environment = dict(os.environ, XDG_CACHE_HOME=os.path.join(scratch, "cache"))
    try:
        done = subprocess.run(arguments, capture_output=True, timeout=SECONDS, env=environment,
                              stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        return [f"still running after {SECONDS} s"]
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    found = []
    if done.returncode not in {exit_of(s) for s in row["status"]}:
        found.append(f"exit status {done.returncode}, not for {row['status']}")
    if done.returncode == 0:
        return found
    lines = err.splitlines()
    if len(lines) != 1 or not err.endswith("\n"):
        found.append(f"{len(lines)} lines on stderr")
    elif not lines[0].startswith(f"osprey: {path}: ") or row["contains"] not in lines[0]:
        found.append(f"the line does not name the file and {row['contains']!r}")
    if any(ord(c) < 32 and c != "\n" for c in err):
        found.append("control characters on stderr")
    if out and row["verb"] != "image":  # detect has begun its table when it reaches a picture
        found.append(f"{len(out)} characters on stdout")
    return [f"{text}: {err.strip()[:300]}" for text in found]


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: run_hostile.py OSPREY FOLDER")
    program, folder = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    with open(os.path.join(folder, "expect.json"), encoding="utf-8") as f:
        rows = json.load(f)
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        for row in rows:
            for text in check(program, folder, row, scratch):
                print(f"{row['file']}: {text}")
                bad += 1
    print(f"{len(rows)} hostile files through the program, {bad} findings")
    return bad != 0


if __name__ == "__main__":
    sys.exit(main())
