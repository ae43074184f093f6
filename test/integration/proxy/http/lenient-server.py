"""A server that reads HTTP as Python does, for the test that two different readers behind the gateway see the same."""
import hashlib
import http.server
import json

SEEN = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        if self.path == "/seen":
            return self.answer(json.dumps(SEEN))
        try:
            body = self.body()
        except (ValueError, ConnectionError):
            # The gateway has broken off within the body.
            self.close_connection = True
            return None
        seen = [self.command, self.path, hashlib.sha256(body).hexdigest()[:12]]
        # With a port it is the same pod.
        SEEN.setdefault(self.headers.get("host", "").split(":")[0], []).append(seen)
        return self.answer("pod")

    def body(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                if size == 0:
                    while self.rfile.readline() not in (b"\r\n", b"\n", b""):
                        pass
                    return body
                body += self.rfile.read(size)
                self.rfile.readline()
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            raise ValueError("broken off")
        return body

    def answer(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
