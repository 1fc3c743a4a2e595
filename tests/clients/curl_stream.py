"""curl against the gateway: `python curl_stream.py BASE_URL REQUEST_JSON [CURL_ARGUMENT...]`.

Prints the text of the stream and when curl had passed on its first and last token, as one JSON object. Times count from
the start of curl: its own start and the TLS handshake are in them.
"""

import json
import subprocess
import sys
import time

base_url, request, *arguments = sys.argv[1:]
command = ["curl", "--silent", "--show-error", "--fail-with-body", "--no-buffer", *arguments]
command += ["--header", "content-type: application/json", "--data", request, f"{base_url}/chat/completions"]

begun = time.monotonic()
curl = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
text, arrivals, last = "", [], None
for line in curl.stdout:
    if not line.startswith("data: "):
        continue
    last = line.removeprefix("data: ").strip()
    choices = json.loads(last).get("choices") if last != "[DONE]" else None
    delta = choices[0]["delta"].get("content") if choices else None
    if delta:
        text += delta
        arrivals.append((time.monotonic() - begun) * 1000)
if curl.wait() != 0 or last != "[DONE]":
    sys.exit(f"curl: status {curl.returncode}, last event {last!r}")
print(json.dumps({"stream": {
    "text": text,
    "tokens": len(arrivals),
    "first_token_ms": arrivals[0] if arrivals else None,
    "last_token_ms": arrivals[-1] if arrivals else None,
}}))
