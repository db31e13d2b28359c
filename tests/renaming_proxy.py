"""Stands between a client and an MCP server over HTTP, and gives the server's tools the names that the client knows.

renaming_proxy.py URL PREFIX

A tool `PREFIXname` of the server is `name` to the client: in what `tools/list` answers, in the name of a `tools/call`, and
in the header `Mcp-Name` that repeats it. Nothing else of a message is changed, and no header but those of the one
connection they are for: Host, Origin and every other pass as they came. A body in which there is nothing to rename passes
byte for byte.

It listens on a free port of loopback, prints its URL, and ends after a quarter of an hour, or when its standard input ends.
"""

import base64
import http.client
import json
import os
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LIFE = 900
# Those of one connection.
OWN = {"connection", "keep-alive", "transfer-encoding", "content-length"}
WRAPPED = ("=?base64?", "?=")


def parsed(text: bytes | str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def named(header: str, prefix: str) -> str:
    """The header `Mcp-Name` with the server's name; one that is wrongly wrapped stays wrong."""
    if not (header.startswith(WRAPPED[0]) and header.endswith(WRAPPED[1])):
        return prefix + header
    try:
        name = base64.b64decode(header[len(WRAPPED[0]) : -len(WRAPPED[1])], validate=True)
    except ValueError:
        return header
    return WRAPPED[0] + base64.b64encode(prefix.encode() + name).decode() + WRAPPED[1]


def asked(body: bytes, prefix: str) -> tuple[bytes, bool]:
    """A request with the server's name, and whether it is a call of a tool."""
    message = parsed(body)
    if not isinstance(message, dict) or message.get("method") != "tools/call":
        return body, False
    params = message.get("params")
    if not isinstance(params, dict) or not isinstance(params.get("name"), str):
        return body, True
    params["name"] = prefix + params["name"]
    return json.dumps(message).encode(), True


def answered(text: bytes, prefix: str) -> bytes:
    """A message of the server with the client's names."""
    message = parsed(text)
    result = message.get("result") if isinstance(message, dict) else None
    tools = result.get("tools") if isinstance(result, dict) else None
    if not isinstance(tools, list):
        return text
    for tool in tools:
        tool["name"] = tool["name"].removeprefix(prefix)
    return json.dumps(message).encode()


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: urllib.parse.SplitResult
    prefix: str

    def log_message(self, *_: object) -> None:
        pass

    def passed_on(self) -> None:
        body, call = asked(self.rfile.read(int(self.headers.get("Content-Length") or 0)), self.prefix)
        server = http.client.HTTPConnection(self.upstream.hostname, self.upstream.port)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in OWN:
                server.putheader(name, named(value, self.prefix) if call and name.lower() == "mcp-name" else value)
        server.putheader("Connection", "close")
        server.putheader("Content-Length", str(len(body)))
        server.endheaders(body)
        try:
            self.answer(server.getresponse())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            server.close()

    def answer(self, reply: http.client.HTTPResponse) -> None:
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() not in OWN:
                self.send_header(name, value)
        if (reply.getheader("Content-Type") or "").startswith("text/event-stream"):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            # Line by line, as they come.
            while line := reply.readline():
                if line.startswith(b"data:") and (changed := answered(line[5:].strip(), self.prefix)) != line[5:].strip():
                    line = b"data: " + changed + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
        else:
            body = answered(reply.read(), self.prefix)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = do_OPTIONS = passed_on


class Listener(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that went away in the middle is nothing to report."""


def main() -> None:
    url, prefix = sys.argv[1:]
    Proxy.upstream, Proxy.prefix = urllib.parse.urlsplit(url), prefix
    listener = Listener(("127.0.0.1", 0), Proxy)
    print(f"http://127.0.0.1:{listener.server_port}{Proxy.upstream.path}", flush=True)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    threading.Timer(LIFE, os._exit, (0,)).start()
    sys.stdin.read()
    os._exit(0)


main()
