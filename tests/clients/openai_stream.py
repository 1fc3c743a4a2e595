"""openai-python against the gateway: `python openai_stream.py BASE_URL MODEL [EXTRA_JSON]`; the CA comes from SSL_CERT_FILE.

EXTRA_JSON is merged into every request. Prints what the SDK made of each answer, as one JSON object.
"""

import json
import sys
import time

import openai

base_url, model, *extra = sys.argv[1:]
client = openai.OpenAI(base_url=base_url, api_key="unused", max_retries=0, timeout=60)
request = {"model": model, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 24, "temperature": 0}
extra_body = json.loads(extra[0]) if extra else {}


def streamed():
    begun = time.monotonic()
    text, finish, usage, answered_by, arrivals = "", None, None, None, []
    with client.chat.completions.create(
        **request, extra_body=extra_body, stream=True, stream_options={"include_usage": True}
    ) as stream:
        for chunk in stream:
            choice = chunk.choices[0] if chunk.choices else None
            if choice and choice.delta.content:
                text += choice.delta.content
                arrivals.append((time.monotonic() - begun) * 1000)
            finish = choice.finish_reason if choice and choice.finish_reason else finish
            usage = chunk.usage.model_dump() if chunk.usage else usage
            answered_by = chunk.model
    return {
        "text": text,
        "model": answered_by,
        "finish": finish,
        "usage": usage,
        "tokens": len(arrivals),
        "first_token_ms": arrivals[0] if arrivals else None,
        "last_token_ms": arrivals[-1] if arrivals else None,
    }


def whole():
    raw = client.chat.completions.with_raw_response.create(**request, extra_body=extra_body)
    completion = raw.parse()
    return {
        "text": completion.choices[0].message.content,
        "finish": completion.choices[0].finish_reason,
        "usage": completion.usage.model_dump() if completion.usage else None,
        "request_id": raw.headers.get("x-request-id"),
    }


def failure(attempt):
    try:
        attempt()
        return {"raised": None}
    except openai.APIStatusError as error:
        return {
            "raised": type(error).__name__,
            "status": error.status_code,
            "code": error.code,
            "message": error.message,
            "request_id": error.request_id,
        }


def aborted():
    """Leaves after the third token of a stream that would go on."""
    tokens = 0
    with client.chat.completions.create(**{**request, "max_tokens": 400}, extra_body=extra_body, stream=True) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                tokens += 1
            if tokens == 3:
                break
    return {"tokens": tokens, "aborted": stream.response.is_closed}


print(
    json.dumps(
        {
            "models": [listed.id for listed in client.models.list()],
            "stream": streamed(),
            "whole": whole(),
            "unknown_model": failure(
                lambda: client.chat.completions.create(**{**request, "model": "no-such-model"}, extra_body=extra_body)
            ),
            "abort": aborted(),
        }
    )
)
