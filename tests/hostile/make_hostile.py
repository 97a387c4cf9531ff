#!/usr/bin/env python3
"""Writes hostile files into a folder, with expect.json beside them.

    make_hostile.py FOLDER

expect.json lists {file, verb, status, contains}: the verb that must fail (open: reading the model;
build: compiling it; tensor and image: as an input), the names of the statuses that are right, and a
text the message must have. A status of "OK" in the list means that the file may also be taken; the
few good files that have no other make sure that the rest fail for their own reason.
expect.txt says the same with tabs, for the C test. The files are the same at every run.
"""
import json
import os
import sys

import cases_build
import cases_data
import cases_external
import cases_graph
import cases_input
import cases_wire


class Writer:
    def __init__(self, folder):
        self.folder = folder
        self.rows = []

    def path(self, name):
        return os.path.join(self.folder, name)

    def put(self, name, content):
        """A file without an expectation of its own."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.remove(path)
        with open(path, "wb") as f:
            f.write(content)
        return path

    def case(self, name, content, status, contains="", verb="open"):
        names = [row["file"] for row in self.rows]
        assert name not in names, name
        self.put(name, content)
        statuses = status if isinstance(status, list) else [status]
        self.rows.append({"file": name, "verb": verb, "status": statuses, "contains": contains})


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_hostile.py FOLDER")
    writer = Writer(sys.argv[1])
    os.makedirs(writer.folder, exist_ok=True)
    for module in (cases_wire, cases_data, cases_external, cases_graph, cases_build, cases_input):
        module.add(writer)
    with open(writer.path("expect.json"), "w", encoding="utf-8") as f:
        json.dump(writer.rows, f, indent=1)
        f.write("\n")
    with open(writer.path("expect.txt"), "w", encoding="utf-8") as f:
        for row in writer.rows:
            f.write("\t".join((row["file"], row["verb"], ",".join(row["status"]),
                               row["contains"])) + "\n")
    kinds = {}
    for row in writer.rows:
        kinds[row["verb"]] = kinds.get(row["verb"], 0) + 1
    print(f"{len(writer.rows)} hostile files in {writer.folder}:",
          ", ".join(f"{count} to {verb}" for verb, count in kinds.items()))


if __name__ == "__main__":
    main()
