"""One small tool, `count`, as people run such tools today: what a start, a call and the memory cost, all in one run.

    PALISADE=path/to/palisade python3 tests/peers/run.py

Peers are installed once below target/peers. What is missing is skipped and counted. Rounds take turns, so that noise hits
all alike. The figures also go to target/peers/figures.json. PALISADE_PEERS_QUICK=1 makes fewer rounds, for a try.
"""

import datetime
import json
import os
import pathlib
import platform
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from statistics import median
from time import perf_counter_ns, sleep

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = ROOT / "target" / "peers"
MCP = ["mcp==2.3.0"]
EXTISM = ["extism==1.1.1", "extism-sys==1.41.0"]
PROTOCOL = "2025-11-25"

QUICK = bool(os.environ.get("PALISADE_PEERS_QUICK"))
COLD = 3 if QUICK else 15
ROUNDS = 4 if QUICK else 20
# Calls in a round, to a server and to what starts a process for each call.
SERVED, SPAWNED = 100, 15
WARM_UP = 50 if QUICK else 300
# No answer takes longer, and no measurement.
ANSWER_S, RUN_S, INSTALL_S = 20, 400, 180

TEXT = "A call of a usual size: a sentence or two\nthat an agent might pass on to a tool,\nbelow two hundred bytes. Ünïcode too.\n"
WANT = {"lines": TEXT.count("\n"), "words": len(TEXT.split()), "bytes": len(TEXT.encode())}
ARGUMENTS = json.dumps({"text": TEXT})

# The driver on one processor and what it measures on another: they do not take each other's time.
CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
PINNED = len(CPUS) > 1


class Missing(Exception):
    """Something a peer needs is not here: it is skipped."""


class Wrong(Exception):
    """A peer does not answer, or not right."""


def pin(who: int, cpus: list[int]) -> None:
    if PINNED:
        os.sched_setaffinity(who, cpus)


# Process groups that run now, by the id of their first process.
alive: set[int] = set()


def start(argv: list[str], env: dict[str, str], errors: pathlib.Path) -> tuple[int, int, int]:
    """A process in a group of its own: its id, the end that writes to it and the end that reads from it."""
    his_in, our_out = os.pipe()
    our_in, his_out = os.pipe()
    actions = [
        (os.POSIX_SPAWN_DUP2, his_in, 0),
        (os.POSIX_SPAWN_DUP2, his_out, 1),
        (os.POSIX_SPAWN_OPEN, 2, str(errors), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
    ]
    # A process starts where its parent is, and stays there.
    pin(0, CPUS[1:2])
    try:
        # Python ignores SIGPIPE; what it starts should not.
        pid = os.posix_spawn(argv[0], argv, env, file_actions=actions, setpgroup=0, setsigdef=[signal.SIGPIPE])
        alive.add(pid)
    except OSError:
        os.close(our_out)
        os.close(our_in)
        raise
    finally:
        pin(0, CPUS[:1])
        os.close(his_in)
        os.close(his_out)
    return pid, our_out, our_in


def end(pid: int, patience_s: float) -> None:
    """Waits for a process that was told to end, and ends its group."""
    until = perf_counter_ns() + patience_s * 1e9
    # Not reaped before its group is gone: until then the id is nobody else's.
    while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) and perf_counter_ns() < until:
        sleep(0.005)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    alive.discard(pid)


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    parents = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name before it may hold anything, also a bracket.
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            pass
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def memory(pid: int) -> tuple[float, float]:
    """RSS and PSS of a process and its descendants, in MiB."""
    sums = {"Rss:": 0, "Pss:": 0}
    for one in tree(pid):
        with open(f"/proc/{one}/smaps_rollup") as rollup:
            for line in rollup:
                name, value = line.split()[:2]
                if name in sums:
                    sums[name] += int(value)
    return sums["Rss:"] / 1024, sums["Pss:"] / 1024


def unpin(pid: int) -> None:
    if PINNED:
        for one in tree(pid):
            for thread in os.listdir(f"/proc/{one}/task"):
                os.sched_setaffinity(int(thread), CPUS)


class Server:
    """A server of lines on stdio, and a client of it: the same for all."""

    def __init__(self, peer: "Peer") -> None:
        self.next, self.rest = 0, b""
        self.errors = peer.errors
        self.pid, self.out, self.into = start(peer.argv, peer.env, peer.errors)

    def send(self, message: bytes) -> None:
        view = memoryview(message)
        while view:
            try:
                view = view[os.write(self.out, view) :]
            except BrokenPipeError:
                raise Wrong(f"it ended: {self.said()}") from None

    def said(self) -> str:
        return self.errors.read_text(errors="replace")[-300:]

    def line(self) -> bytes:
        while b"\n" not in self.rest:
            if not select.select([self.into], [], [], ANSWER_S)[0]:
                raise Wrong(f"no answer in {ANSWER_S} s")
            got = os.read(self.into, 65536)
            if not got:
                raise Wrong(f"it ended: {self.said()}")
            self.rest += got
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def request(self, method: str, params: dict, echoed: bool = False) -> tuple[dict, int]:
        """The result, and the nanoseconds from the first byte sent to the last received."""
        self.next += 1
        message = json.dumps({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params}).encode() + b"\n"
        begun = perf_counter_ns()
        self.send(message)
        line = self.line()
        took = perf_counter_ns() - begun
        answer = json.loads(line)
        if echoed:
            return answer["params"], took
        while answer.get("id") != self.next or "method" in answer:
            # A server may say something in between; what comes last counts.
            line = self.line()
            took = perf_counter_ns() - begun
            answer = json.loads(line)
        if "result" not in answer:
            raise Wrong(f"{method}: {line[:300]!r}")
        return answer["result"], took

    def close(self) -> None:
        os.close(self.out)
        end(self.pid, 3)
        os.close(self.into)


def check(text: str | bytes) -> None:
    try:
        got = json.loads(text)
        same = all(got[name] == value for name, value in WANT.items())
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise Wrong(f"{text!r:.300} is not {WANT}")


class Peer:
    """Something that counts, and what was measured of it."""

    def __init__(self, name: str, argv: list, env: dict, errors: pathlib.Path, tool="count", stdin="", fence="none") -> None:
        self.name, self.argv, self.env, self.errors = name, [str(a) for a in argv], env, errors
        self.tool, self.stdin, self.fence = tool, stdin, fence
        # Nanoseconds of what was measured, and MiB.
        self.starts: list[int] = []
        self.calls: list[int] = []
        self.loose: list[int] = []
        self.memory: tuple[float, float] | None = None

    def check(self) -> None:
        """One start that is not timed: the answer is right, and what is cached is cached."""
        self.cold()
        self.starts.clear()

    def figures(self) -> dict:
        def us(values: list[int], part: float) -> float | None:
            return round(sorted(values)[min(int(len(values) * part), len(values) - 1)] / 1e3, 1) if values else None

        rss, pss = self.memory or (None, None)
        return {
            "peer": self.name,
            "fence": self.fence,
            "cold_ms": round(median(self.starts) / 1e6, 2) if self.starts else None,
            "cold_min_ms": round(min(self.starts) / 1e6, 2) if self.starts else None,
            "cold_rounds": len(self.starts),
            "p50_us": us(self.calls, 0.5),
            "p99_us": us(self.calls, 0.99),
            "calls": len(self.calls),
            "unpinned_p50_us": us(self.loose, 0.5),
            "rss_mib": round(rss, 1) if rss else None,
            "pss_mib": round(pss, 1) if pss else None,
        }


class Served(Peer):
    """A server that stays: cold is from its start to its first answer."""

    server: Server | None = None

    def cold(self) -> None:
        begun = perf_counter_ns()
        server = Server(self)
        try:
            self.greet(server)
            self.talk(server)
            self.starts.append(perf_counter_ns() - begun)
        finally:
            server.close()

    def greet(self, server: Server) -> None:
        client = {"name": "peers", "version": "0"}
        got, _ = server.request("initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client})
        if got["protocolVersion"] != PROTOCOL:
            raise Wrong(f"it speaks {got['protocolVersion']}")
        server.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')

    def talk(self, server: Server) -> int:
        result, took = server.request("tools/call", {"name": self.tool, "arguments": {"text": TEXT}})
        if result.get("isError"):
            raise Wrong(str(result)[:300])
        check(result["content"][0]["text"])
        return took

    def begin(self) -> None:
        self.server = Server(self)
        self.greet(self.server)
        for _ in range(WARM_UP):
            self.talk(self.server)

    def warm(self, into: list[int]) -> None:
        into += [self.talk(self.server) for _ in range(SERVED)]

    def weigh(self) -> None:
        self.memory = memory(self.server.pid)

    def unpin(self) -> None:
        unpin(self.server.pid)

    def finish(self) -> None:
        if self.server:
            self.server.close()
            self.server = None


class Within(Peer):
    """The calls of another server's own process, timed in there: no pipe lies between."""

    def __init__(self, name: str, of: Served, tool: str) -> None:
        super().__init__(name, of.argv, of.env, of.errors, tool, fence=of.fence)
        self.of = of

    def cold(self) -> None: ...

    def bench(self, calls: int) -> list[int]:
        params = {"name": self.tool, "arguments": {"text": TEXT}, "calls": calls}
        return self.of.server.request("bench", params)[0]

    def begin(self) -> None:
        self.bench(WARM_UP)

    def warm(self, into: list[int]) -> None:
        into += self.bench(SERVED)

    def weigh(self) -> None: ...

    def unpin(self) -> None: ...

    def finish(self) -> None: ...


class Spawned(Peer):
    """A process for each call: cold and warm are the same, from its start to its end."""

    def run(self) -> int:
        begun = perf_counter_ns()
        pid, out, into = start(self.argv, self.env, self.errors)
        got = b""
        try:
            os.write(out, self.stdin.encode())
            os.close(out)
            while True:
                if not select.select([into], [], [], ANSWER_S)[0]:
                    raise Wrong(f"no end in {ANSWER_S} s")
                more = os.read(into, 65536)
                if not more:
                    break
                got += more
            status = os.waitpid(pid, 0)[1]
            alive.discard(pid)
        finally:
            os.close(into)
        took = perf_counter_ns() - begun
        if status:
            raise Wrong(f"status {status}: {self.errors.read_text(errors='replace')[-300:]}")
        check(got)
        return took

    def cold(self) -> None:
        self.starts.append(self.run())

    def begin(self) -> None: ...

    def warm(self, into: list[int]) -> None:
        into += [self.run() for _ in range(SPAWNED)]

    def weigh(self) -> None:
        """The most that was seen while it ran, in runs that are not timed."""
        seen = []
        for _ in range(5):
            pid, out, into = start(self.argv, self.env, self.errors)
            try:
                os.write(out, self.stdin[:-1].encode())
                if self.stdin:
                    # It waits for the last byte.
                    sleep(0.02)
                    seen.append(memory(pid))
                    os.write(out, self.stdin[-1:].encode())
                os.close(out)
                while not self.stdin:
                    try:
                        seen.append(memory(pid))
                    except (OSError, ValueError):
                        break
                    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                        break
            finally:
                end(pid, 3)
                os.close(into)
        self.memory = max(seen, default=None)

    def unpin(self) -> None: ...

    def finish(self) -> None: ...


def install(folder: pathlib.Path, pins: str, needed: str, commands: list[list]) -> None:
    """Once for the same pins; a failed one leaves no mark, so the next run tries again."""
    mark = folder / "installed"
    if mark.exists() and mark.read_text() == pins:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if needed == "npm":
        shutil.copy(HERE / "package.json", folder)
    for command in commands:
        with open(folder / "install.log", "w+") as log:
            try:
                process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)
            except FileNotFoundError:
                raise Missing(f"{needed} is not here") from None
            alive.add(process.pid)
            try:
                status = process.wait(INSTALL_S)
            except subprocess.TimeoutExpired:
                end(process.pid, 0)
                raise Missing(f"{needed} took too long") from None
            alive.discard(process.pid)
            log.seek(0)
            if status:
                raise Missing(f"{needed} failed: {(log.read().strip() or 'no word').splitlines()[-1][:120]}")
    mark.write_text(pins)


def venv(folder: pathlib.Path, pins: list[str]) -> pathlib.Path:
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "-q", "--disable-pip-version-check", "install", *pins]
    install(folder, " ".join([*pins, sys.version]), "pip", [[sys.executable, "-m", "venv", folder], pip])
    return python


def found(program: str) -> str:
    path = shutil.which(program)
    if not path:
        raise Missing(f"{program} is not here")
    return path


def peers(palisade: str, home: pathlib.Path, env: dict[str, str]) -> tuple[list[list[Peer]], list[str]]:
    plugin = ROOT / "target" / "plugins" / "text-stats"
    flags = ["--profile", "trusted", "--workspace", home / "workspace", "--plugin", plugin]
    fence = "wasm, fresh"

    def serve() -> list[Peer]:
        return [Served("palisade serve", [palisade, *flags, "serve"], env, home / "serve.err", "text-stats__count", fence=fence)]

    def call() -> list[Peer]:
        argv = [palisade, *flags, "-q", "call", "text-stats/count", ARGUMENTS]
        return [Spawned("palisade call", argv, env, home / "call.err", fence=fence)]

    def node() -> list[Peer]:
        folder, program = TARGET / "node", found("node")
        version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20).stdout
        pins = (HERE / "package.json").read_text() + version
        # Without a network it would try for minutes.
        quick = ["--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=2000", "--fetch-retry-maxtimeout=2000"]
        install(folder, pins, "npm", [["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *quick]])
        # Node looks for the packages beside the file.
        shutil.copy(HERE / "server.mjs", folder)
        return [Served("node, MCP SDK", [program, folder / "server.mjs"], env, home / "node.err")]

    def python() -> list[Peer]:
        return [Served("python, MCP SDK", [venv(TARGET / "python", MCP), HERE / "server.py"], env, home / "python.err")]

    def native() -> list[Peer]:
        program = home / "count"
        built = subprocess.run([found("cc"), "-O2", "-o", program, HERE / "count.c"], capture_output=True, text=True, timeout=60)
        if built.returncode:
            raise Missing(f"cc failed: {built.stderr[-200:]}")
        return [Spawned("native process for each call", [program], env, home / "native.err", stdin=ARGUMENTS)]

    def extism() -> list[Peer]:
        argv = [venv(TARGET / "extism", EXTISM), HERE / "extism_host.py", HERE / "count.wat"]
        reused = Served("extism in python, reused, no SDK", argv, env, home / "extism.err", "count", fence="wasm, reused")
        fresh = Served("extism in python, fresh, no SDK", argv, env, home / "fresh.err", "count_fresh", fence=fence)
        inside = [Within("  reused, without the pipe", reused, "count"), Within("  fresh, without the pipe", fresh, "count_fresh")]
        return [reused, fresh, *inside]

    ready, skipped = [], []
    for make in (serve, call, node, python, native, extism):
        try:
            ready.append(make())
        except Missing as missing:
            skipped.append(f"{make.__name__} ({missing})")
            print(f"skipped: {skipped[-1]}", flush=True)
    return ready, skipped


class Echo(Served):
    """A line to `cat` and back: what the pipes and the client cost alone."""

    def greet(self, server: Server) -> None: ...

    def talk(self, server: Server) -> int:
        # The line as it was sent passes for an answer.
        return server.request("tools/call", {"arguments": {"text": TEXT}}, echoed=True)[1]


def each(everyone: list[Peer], step: Callable[[Peer], None]) -> None:
    for peer in everyone:
        try:
            step(peer)
        except Wrong as wrong:
            raise Wrong(f"{peer.name.strip()}: {wrong}") from None


def measure(everyone: list[Peer]) -> None:
    each(everyone, lambda peer: peer.check())
    for _ in range(COLD):
        each(everyone, lambda peer: peer.cold())
    try:
        each(everyone, lambda peer: peer.begin())
        for _ in range(ROUNDS):
            each(everyone, lambda peer: peer.warm(peer.calls))
        if pathlib.Path("/proc/self/smaps_rollup").exists():
            each(everyone, lambda peer: peer.weigh())
        # The same servers, left to the scheduler.
        if PINNED:
            each(everyone, lambda peer: peer.unpin())
            pin(0, CPUS)
            for _ in range(ROUNDS // 4):
                each([peer for peer in everyone if not isinstance(peer, Spawned)], lambda peer: peer.warm(peer.loose))
            pin(0, CPUS[:1])
    finally:
        each(everyone, lambda peer: peer.finish())


def first_start(palisade: Served, home: pathlib.Path, env: dict[str, str]) -> float:
    """Milliseconds of a start with nothing compiled yet: once for each plugin and version."""
    times = []
    for turn in range(1 if QUICK else 3):
        own = home / f"empty{turn}"
        own.mkdir(mode=0o700)
        peer = Served("", palisade.argv, env | {"PALISADE_HOME": str(own)}, home / "first.err", palisade.tool)
        peer.cold()
        times += peer.starts
    return round(median(times) / 1e6, 1)


def processor() -> str:
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def table(rows: list[dict]) -> None:
    def cell(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    print(f"{'':33} {'cold start':>10} {'warm p50':>10} {'p99':>9} {'unpinned':>9} {'RSS':>7} {'PSS':>7}  fence for a call")
    print(f"{'':33} {'ms':>10} {'µs':>10} {'µs':>9} {'p50, µs':>9} {'MiB':>7} {'MiB':>7}")
    for row in rows:
        print(
            f"{row['peer']:33} {cell(row['cold_ms'], 1):>10} {cell(row['p50_us'], 1):>10} {cell(row['p99_us'], 1):>9} "
            f"{cell(row['unpinned_p50_us'], 1):>9} {cell(row['rss_mib'], 1):>7} {cell(row['pss_mib'], 1):>7}  {row['fence']}"
        )


def stop(number: int, _frame: object) -> None:
    raise SystemExit("it took too long" if number == signal.SIGALRM else 128 + number)


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stop)
    given = os.environ.get("PALISADE", "")
    if not given or not os.access(given, os.X_OK):
        print("PALISADE does not name the binary")
        return 2
    palisade = os.path.realpath(given)
    load = round(os.getloadavg()[0], 2)
    home = pathlib.Path(tempfile.mkdtemp(prefix="palisade-peers-")).resolve()
    try:
        for folder in ("own", "workspace", "cache"):
            (home / folder).mkdir(mode=0o700)
        # Nothing of this machine's settings; caches of compiled code are cold once, then warm, for whoever has one.
        env = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "PALISADE_HOME": str(home / "own"),
            "LANG": "C.UTF-8",
        }
        groups, skipped = peers(palisade, home, env)
        signal.alarm(RUN_S)
        everyone = [peer for group in groups for peer in group]
        everyone.append(Echo("(floor: cat, the line back)", [found("cat")], env, home / "cat.err"))
        first = first_start(everyone[0], home, env)
        measure(everyone)
    except Wrong as wrong:
        print(f"FAILED: {wrong}")
        return 1
    finally:
        signal.alarm(0)
        for pid in list(alive):
            end(pid, 0)
        shutil.rmtree(home, ignore_errors=True)

    rows = [peer.figures() for peer in everyone]
    figures = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": processor(),
        "cpus": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "load_before": load,
        "pinned": PINNED,
        "arguments": ARGUMENTS,
        "versions": {
            "npm": json.loads((HERE / "package.json").read_text())["dependencies"],
            "pip": MCP + EXTISM,
            "python": platform.python_version(),
        },
        "peers": rows,
        "palisade_first_start_ms": first,
        "skipped": skipped,
    }
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    table(rows)
    calls = f"{ROUNDS * SERVED} calls, {ROUNDS * SPAWNED} where each is a process"
    print(f"\narguments of {len(ARGUMENTS)} bytes, {COLD} starts, {calls}")
    print("cold start: to the first answer, or to the end of a process for one call; median. Files and compiled code are cached.")
    print("warm: from the request's first byte to the answer's last; for a process for each call, from its start to its end.")
    print("without the pipe: timed in the process of the host; Palisade's figure for that is Host::call in `make bench`.")
    print(f"palisade serve with nothing compiled yet, once for each plugin: {first} ms to the first answer")
    where = "client and servers each on a processor of their own" if PINNED else "not pinned"
    print(f"{figures['cpu']}, {figures['cpus']} processors, {figures['kernel']}; {where}; load before: {load}")
    print(f"{len(groups)} measured, {len(skipped)} skipped" + (": " + "; ".join(skipped) if skipped else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
