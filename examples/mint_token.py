#!/usr/bin/env python3
"""Mints a Tokenway token (HS256) with nothing but Python's standard library.

In a backend, call mint() where the user is known, and hand the result to the page:

    TOKENWAY_TOKEN_SECRET=… python3 examples/mint_token.py user-17 300 https://app.example.com
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time


def mint(secret: bytes, subject: str, seconds: int, **claims) -> str:
    """A token for `subject` that is good for `seconds`; claims: origin, models, budget, rpm, tpm, streams."""
    header = {"alg": "HS256", "typ": "JWT"}
    payload = {"sub": subject, "exp": int(time.time()) + seconds, **claims}
    message = ".".join(encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, payload))
    signature = hmac.new(secret, message.encode(), hashlib.sha256).digest()
    return f"{message}.{encode(signature)}"


def encode(part: bytes) -> str:
    """base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


if __name__ == "__main__":
    subject, seconds, *origin = sys.argv[1:]
    print(mint(os.environ["TOKENWAY_TOKEN_SECRET"].encode(), subject, int(seconds), **({"origin": origin[0]} if origin else {})))
