"""The processes of `scripts/soak`: the gateway, its upstream and Redis."""

import collections
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

CONFIGURATION = """[server]
listen = "127.0.0.1:{listen}"
admin = "127.0.0.1:{admin}"
certificate = "certificate.pem"
private_key = "private.key"
idle_timeout = "5s"
header_timeout = "3s"
body_timeout = "3s"
drain = "5s"
[cors]
origins = ["https://app.example", "https://reload-{number}.example"]
[stream]
heartbeat = "1s"
commit_after = "1s"
first_event_timeout = "2s"
idle_timeout = "2s"
whole_timeout = "5s"
max_duration = "10s"
max_event = "256KiB"
[resume]
grace = "1s"
retention = "5s"
max_bytes = "8MiB"
[[upstreams]]
name = "sound"
base_url = "http://127.0.0.1:{upstream}/v1"
keep_alive = "3s"
[[upstreams]]
name = "broken"
base_url = "http://127.0.0.1:{upstream}/v1"
keep_alive = "3s"
[[models]]
name = "sound"
upstream = "sound"
input_price = 0.27
output_price = 1.10
[[models]]
name = "broken"
upstream = "broken"
input_price = 0.10
output_price = 0.20
[[models]]
name = "rescued"
upstream = "broken"
fallback = ["sound"]
input_price = 0.10
output_price = 0.20
[fallback]
retry_budget = 1
cool_down = "50ms"
max_cool_down = "100ms"
[limits]
requests_per_minute = 0
tokens_per_minute = 1000000000
concurrent_streams = 5000
[cost]
budget_per_day = 100000
[cache]
enabled = true
ttl = "{ttl}s"
max_bytes = "4MiB"
[redis]
url = "redis://127.0.0.1:{redis}"
[log]
format = "json"
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, ready, seconds=20):
    """The first true value of `ready()`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := ready():
            return value
        time.sleep(0.05)
    raise TimeoutError(what)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

class Stage:
    """The gateway, its upstream and Redis, each a child process. A context manager: it ends them."""

    def __init__(self, binary, directory):
        self.binary, self.directory = binary, directory
        self.admin, self.upstream_port, self.redis_port = free_port(), free_port(), free_port()
        self.port, self.reloads, self.restarts = free_port(), 0, 0
        self.gateway = self.upstream = self.redis = None
        self.last_lines = collections.deque(maxlen=20)
        self.context = None

    def __enter__(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
            + ["-keyout", f"{self.directory}/private.key", "-out", f"{self.directory}/certificate.pem", "-subj", "/CN=localhost"]
            + ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        self.context = ssl.create_default_context(cafile=f"{self.directory}/certificate.pem")
        try:
            self.start_redis()
            self.start_upstream()
            self.configure()
            command = [self.binary, "serve", "--config", f"{self.directory}/tokenway.toml"]
            self.gateway = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            threading.Thread(target=self.read_log, daemon=True).start()
            until("the gateway listens", lambda: listens(self.port) or self.gateway.poll() is not None)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for child in (self.gateway, self.upstream, self.redis):
            if child and child.poll() is None:
                child.terminate()
                try:
                    child.wait(15)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()

    def read_log(self):
        for line in self.gateway.stderr:
            if b'"tokenway::request"' not in line:
                self.last_lines.append(line.decode(errors="replace").rstrip())

    def configure(self):
        """Writes a configuration that differs from the one before; every third reload also changes the cache."""
        text = CONFIGURATION.format(
            listen=self.port,
            admin=self.admin,
            upstream=self.upstream_port,
            redis=self.redis_port,
            number=self.reloads,
            ttl=20 + self.reloads // 3 % 2,
        )
        (self.directory / "tokenway.toml").write_text(text)

    def reload(self):
        self.reloads += 1
        self.configure()
        self.gateway.send_signal(signal.SIGHUP)

    def start_redis(self):
        command = ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self.directory)]
        self.redis = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until("Redis listens", lambda: listens(self.redis_port))

    def start_upstream(self):
        command = [self.binary, "demo-upstream", "--listen", f"127.0.0.1:{self.upstream_port}"]
        command += ["--first-token", "20ms", "--tokens-per-second", "200"]
        self.upstream = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until("the upstream listens", lambda: listens(self.upstream_port))

    def faults(self):
        """The names of the demo upstream's faults, from its help text."""
        text = subprocess.run([self.binary, "demo-upstream", "--help"], check=True, capture_output=True, text=True).stdout
        section = re.search(r"--fault <KIND>(.*?)\n\s+--", text, re.S)[1]
        return re.findall(r"^\s+- ([a-z0-9_]+):", section, re.M)

    def metrics(self):
        """The sums of all metrics by name."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        sums = collections.Counter()
        for name, value in re.findall(r"^(\w+)(?:\{.*\})? (\S+)$", text, re.M):
            sums[name] += float(value)
        return sums

    def sample(self):
        pid = self.gateway.pid
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        metrics = self.metrics()
        return {
            "memory": int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024,
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "tasks": metrics["tokenway_tasks"],
            "threads": int(re.search(r"Threads:\s+(\d+)", status)[1]),
            "streams": metrics["tokenway_streams_active"],
            "resumable": metrics["tokenway_streams_resumable"],
            "connections": metrics["tokenway_connections_active"],
            "requests": metrics["tokenway_requests_total"],
            "panics": metrics["tokenway_panics_total"],
            "restarts": metrics["tokenway_task_restarts_total"],
        }
