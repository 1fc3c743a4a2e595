"""The load of `scripts/soak`: clients, and what troubles the gateway meanwhile."""

import http.client
import json
import random
import shutil
import socket
import subprocess
import threading
import time


class WrongNumber(Exception):
    """A resumed stream left an event out, or repeated one."""


class Client(threading.Thread):
    """Makes one request after the other, each of a random kind."""

    def __init__(self, stage, seed, faults, stop, counts):
        super().__init__(daemon=True)
        self.stage, self.random, self.faults, self.stop, self.counts = stage, random.Random(seed), faults, stop, counts
        self.connection = None

    def run(self):
        kinds = [self.direct, self.direct, self.abort, self.whole, self.resumable, self.resumable, self.abandoned]
        kinds += [self.coalesced, self.coalesced, self.fault, self.fault, self.refused, self.half_request]
        kinds += [self.over_http2] if shutil.which("curl") else []
        while not self.stop.is_set():
            kind = self.random.choice(kinds)
            name = kind.__name__
            try:
                self.counts[f"{name}: {kind()}"] += 1
            except WrongNumber as error:
                self.counts[f"{name}: WRONG: {error}"] += 1
                self.close()
            except (OSError, http.client.HTTPException) as error:
                # such as a connection that the gateway closed while it was idle
                self.counts[f"{name}: {type(error).__name__}"] += 1
                self.close()
            if self.random.random() < 0.3:
                self.close()
            self.stop.wait(self.random.random() * 0.1)
        self.close()

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def send(self, method, path, body=None, headers=None):
        """Sends a request over the client's connection, or over a new one; returns the response."""
        if not self.connection:
            self.connection = http.client.HTTPSConnection("localhost", self.stage.port, timeout=30, context=self.stage.context)
        headers = {"content-type": "application/json", "origin": "https://app.example", **(headers or {})}
        data = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
        self.connection.request(method, path, data, headers)
        return self.connection.getresponse()

    def completion(self, model="sound", stream=True, prompt=None, **demo):
        prompt = prompt or f"Count, number {self.random.getrandbits(60)}."
        demo.setdefault("tokens", self.random.randint(3, 80))
        return {"model": model, "stream": stream, "messages": [{"role": "user", "content": prompt}], "demo": demo}

    def drained(self, response):
        """Reads a response whole; how it ended."""
        text = response.read()
        if response.getheader("connection") == "close":
            self.close()
        if response.status != 200:
            return str(response.status)
        if b'"error":{' in text:
            return "error event"
        return "complete" if text.rstrip().endswith(b"data: [DONE]") else "WRONG: no [DONE]"

    def direct(self):
        return self.drained(self.send("POST", "/v1/chat/completions", self.completion(), {"cache-control": "no-store"}))

    def whole(self):
        response = self.send("POST", "/v1/chat/completions", self.completion(stream=False))
        text = response.read()
        return str(response.status) if response.status != 200 or json.loads(text)["choices"] else "WRONG: no choices"

    def abort(self):
        response = self.send("POST", "/v1/chat/completions", self.completion(tokens=500))
        response.read1(self.random.randint(1, 4000))
        self.close()
        return "left"

    def events(self, response, most):
        """Reads at most so many events; how many, and whether the stream has ended."""
        seen, ended = 0, False
        while seen < most and (line := response.readline()):
            seen += line.startswith(b"data:")
            ended = ended or line.startswith(b"data: [DONE]") or b'"error":{' in line
        return seen, ended

    def resumable(self):
        request = self.completion(tokens=self.random.randint(20, 120))
        response = self.send("POST", "/v1/chat/completions", request, {"tokenway-resumable": "true", "cache-control": "no-store"})
        if response.status != 200:
            return self.drained(response)
        path = f"/v1/streams/{response.getheader('tokenway-stream-id')}"
        seen, ended = self.events(response, self.random.randint(1, 60))
        cuts = 0
        while not ended:
            self.close()
            if self.random.random() < 0.1:
                response = self.send("DELETE", path)
                response.read()
                return f"stopped {response.status}"
            response = self.send("GET", f"{path}?from={seen}")
            if response.status != 200:
                return self.drained(response)
            more, ended = self.numbered(response, seen, self.random.randint(10, 100))
            seen, cuts = seen + more, cuts + 1
            if more == 0 and cuts > 100:
                return "WRONG: no progress"
        self.close()
        return "complete"

    def numbered(self, response, seen, most):
        """The same for a resumed stream, whose events have consecutive numbers."""
        count, ended = 0, False
        while count < most and (line := response.readline()):
            if line.startswith(b"id:"):
                count += 1
                if int(line[3:]) != seen + count:
                    raise WrongNumber(f"event {line!r} follows event {seen + count - 1}")
            ended = ended or line.startswith(b"data: [DONE]") or b'"error":{' in line
        return count, ended

    def abandoned(self):
        response = self.send("POST", "/v1/streams", self.completion(tokens=2000))
        response.read()
        return str(response.status)

    def coalesced(self):
        # each client uses the same prompt within the same second: a leader, subscribers, then cache hits
        request = self.completion(prompt=f"What is the time? {int(time.time())}", tokens=60)
        response = self.send("POST", "/v1/chat/completions", request)
        if self.random.random() < 0.3:
            response.read1(self.random.randint(1, 4000))
            self.close()
            return "left"
        return self.drained(response)

    def fault(self):
        fault = self.random.choice(self.faults)
        model = self.random.choice(["broken", "rescued"])
        demo = {"models": {model: {"fault": fault, "at": self.random.randint(0, 5)}}}
        if model == "rescued":
            demo["models"]["sound"] = {"tokens": 10}
        stream = self.random.random() < 0.8
        request = self.completion(model, stream, tokens=20, **demo)
        headers = {"tokenway-resumable": "true"} if stream and self.random.random() < 0.3 else {}
        response = self.send("POST", "/v1/chat/completions", request, headers)
        if self.random.random() < 0.2:
            self.close()
            return "left"
        response.read()
        if response.getheader("connection") == "close":
            self.close()
        return str(response.status)

    def refused(self):
        method, path, body, headers = self.random.choice(
            [
                ("POST", "/v1/chat/completions", "{", {}),
                ("POST", "/v1/chat/completions", {"model": "none", "messages": []}, {}),
                ("GET", "/nowhere", None, {}),
                ("GET", "/v1/chat/completions", None, {}),
                ("GET", "/v1/streams/none", None, {}),
                ("OPTIONS", "/v1/chat/completions", None, {"access-control-request-method": "POST"}),
                ("GET", "/v1/models", None, {}),
            ]
        )
        response = self.send(method, path, body, headers)
        response.read()
        if response.getheader("connection") == "close":
            self.close()
        return str(response.status)

    def half_request(self):
        """A head, a handshake or a part of a body, and then nothing."""
        plain = socket.create_connection(("127.0.0.1", self.stage.port), timeout=10)
        with plain:
            stage = self.random.randint(0, 2)
            if stage > 0:
                plain = self.stage.context.wrap_socket(plain, server_hostname="localhost")
                head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost:%d\r\n" % self.stage.port
                plain.sendall(head if stage == 1 else head + b"content-length: 100000\r\n\r\n" + b" " * 1000)
            self.stop.wait(self.random.random() * 0.3)
            plain.close()
        return "left"

    def over_http2(self):
        """A few streams of one HTTP/2 connection; a part of them is cut by a time limit."""
        url = f"https://localhost:{self.stage.port}/v1/chat/completions"
        command = ["curl", "-sS", "--http2", "--cacert", f"{self.stage.directory}/certificate.pem", "--parallel", "-o", "/dev/null"]
        command += ["--max-time", f"{self.random.choice([0.1, 0.3, 10])}", "-H", "content-type: application/json", "--data", "@-"]
        command += [url, "-o", "/dev/null", url]
        data = json.dumps(self.completion())
        ended = subprocess.run(command, input=data, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return {0: "complete", 28: "left"}.get(ended.returncode, f"curl {ended.returncode}")


class Trouble(threading.Thread):
    """Reloads the gateway, and restarts Redis and the upstream."""

    def __init__(self, stage, stop, pace):
        super().__init__(daemon=True)
        self.stage, self.stop, self.pace, self.random = stage, stop, pace, random.Random(1)

    def run(self):
        for round_ in range(1, 1_000_000):
            if self.stop.wait(self.pace):
                return
            self.stage.reload()
            if round_ % 3 == 0:
                self.stage.redis.kill()
                self.stage.redis.wait()
                self.stop.wait(self.random.choice([0.1, 0.5, 3]))
                self.stage.start_redis()
                self.stage.restarts += 1
            if round_ % 8 == 0:
                self.stage.upstream.kill()
                self.stage.upstream.wait()
                self.stage.start_upstream()
