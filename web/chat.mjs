// One streamed chat completion by fetch: what happened, when, as a sequence of steps. No DOM here.
import { EventParser } from './sse.mjs';

/** The gateway, or the model behind it, said no: before the stream, or inside it. */
export class ChatError extends Error {
  /** @param {{message: string, code?: string, status?: number, requestId?: string, inStream?: boolean}} what */
  constructor({ message, code, status, requestId, inStream = false }) {
    super(message);
    Object.assign(this, { name: 'ChatError', code, status, requestId, inStream });
  }
}

/** The models that the gateway offers, each at least with an `id`. */
export async function models(gateway, signal) {
  const response = await fetch(`${gateway}/v1/models`, { signal, credentials: 'omit' });
  if (!response.ok) throw await refusal(response);
  return (await response.json()).data;
}

/**
 * Streams one completion. Yields, each with its time `at` (milliseconds, as performance.now):
 * - `{kind: 'head', response}` when the status is there,
 * - `{kind: 'delta', text, reasoning}` for each event with output; those that came in one read have the same time,
 * - `{kind: 'usage', usage}`, `{kind: 'finish', reason}` and `{kind: 'done'}` where the stream holds them.
 *
 * Throws a ChatError, an AbortError when `signal` fires, or the TypeError of a fetch that the browser failed.
 */
export async function* stream(gateway, request, signal) {
  const response = await fetch(`${gateway}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
    credentials: 'omit',
    signal,
  });
  yield { kind: 'head', at: performance.now(), response };
  if (!response.ok) throw await refusal(response);

  const requestId = response.headers.get('x-request-id') ?? undefined;
  const parser = new EventParser();
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  for (let piece; !(piece = await reader.read()).done; ) {
    const at = performance.now();
    for (const { data } of parser.push(decoder.decode(piece.value, { stream: true }))) yield* steps(data, at, requestId);
  }
}

function* steps(data, at, requestId) {
  if (data === '[DONE]') {
    yield { kind: 'done', at };
    return;
  }
  let chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw new ChatError({ message: 'An event of the stream is not JSON.', inStream: true, requestId });
  }
  if (chunk.error) {
    const { message, code, request_id } = chunk.error;
    throw new ChatError({ message: message ?? 'The stream broke.', code, requestId: request_id ?? requestId, inStream: true });
  }
  const choice = chunk.choices?.[0];
  const text = choice?.delta?.content ?? choice?.delta?.refusal ?? '';
  const reasoning = choice?.delta?.reasoning_content ?? choice?.delta?.reasoning ?? '';
  if (text || reasoning) yield { kind: 'delta', at, text, reasoning };
  if (chunk.usage) yield { kind: 'usage', at, usage: chunk.usage };
  if (choice?.finish_reason) yield { kind: 'finish', at, reason: choice.finish_reason };
}

async function refusal(response) {
  const error = await response.json().then((body) => body.error, () => undefined);
  return new ChatError({
    message: error?.message ?? `The gateway answered ${response.status} without saying why.`,
    code: error?.code,
    status: response.status,
    requestId: error?.request_id ?? response.headers.get('x-request-id') ?? undefined,
  });
}
