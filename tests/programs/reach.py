"""Tries to reach what is not its own, and prints what came of each attempt: reach.py FOLDER."""

import json
import os
import socket
import subprocess
import sys

FOLDER = sys.argv[1]


def read(path):
    with open(path) as file:
        file.read()


def write(path):
    with open(path, "w") as file:
        file.write("x")


def link(path):
    os.symlink(path, "link")
    read("link")


def listen():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))


ATTEMPTS = {
    "write its own": lambda: write("own.txt"),
    "read its own": lambda: read("own.txt"),
    "read": lambda: read(FOLDER + "/secret.txt"),
    "read above": lambda: read("../secret.txt"),
    "read below itself": lambda: read("below/../../secret.txt"),
    "read the environment of a process": lambda: read("/proc/self/environ"),
    "read by a link": lambda: link(FOLDER + "/secret.txt"),
    "read by a link above": lambda: link("../secret.txt"),
    "link": lambda: os.link("../secret.txt", "hard"),
    "write": lambda: write(FOLDER + "/written.txt"),
    "write above": lambda: write("../written.txt"),
    "move out": lambda: os.rename("own.txt", "../moved.txt"),
    "remove above": lambda: os.remove("../victim.txt"),
    "list above": lambda: os.listdir(".."),
    "listen": listen,
    "start": lambda: subprocess.run(["true"], check=True),
}


def attempt(do):
    try:
        do()
    except Exception as error:
        return type(error).__name__
    finally:
        if os.path.lexists("link"):
            os.remove("link")
    return "reached"


os.mkdir("below")
came = {name: attempt(do) for name, do in ATTEMPTS.items()}
print(json.dumps({"root": sorted(os.listdir("/")), "environment": sorted(os.environ), "came": came}))
