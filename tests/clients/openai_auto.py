"""openai-python against a gateway with `auto`, a cache and a budget: `python openai_auto.py BASE_URL`; the CA comes from SSL_CERT_FILE.

Retries as the SDK does by itself. Prints what it made of each answer, as one JSON object.
"""

import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="unused", timeout=60)
request = {"model": "auto", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 24}


def told(raw, text, usage):
    header = raw.headers.get
    return {"text": text, "usage": usage.model_dump(), "model": header("tokenway-model"), "cache": header("tokenway-cache")}


def streamed():
    raw = client.chat.completions.with_raw_response.create(**request, stream=True, stream_options={"include_usage": True})
    text, usage = "", None
    for chunk in raw.parse():
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        usage = chunk.usage or usage
    return told(raw, text, usage)


def whole():
    raw = client.chat.completions.with_raw_response.create(**request)
    completion = raw.parse()
    return told(raw, completion.choices[0].message.content, completion.usage)


def refused():
    try:
        client.chat.completions.create(**{**request, "model": "dear", "max_tokens": 100_000})
    except openai.APIStatusError as error:
        return {"raised": type(error).__name__, "code": error.code}


print(json.dumps({"answers": [streamed(), streamed(), whole()], "refused": refused()}))
