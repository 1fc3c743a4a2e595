// One streamed chat completion, as a sequence of steps: what happened, and when. No DOM here.
import { StreamError, stream } from './tokenway.js';

/** The models that the gateway offers, each at least with an `id`. */
export async function models(gateway, network) {
  const response = await network.fetch(`${gateway}/v1/models`, { credentials: 'omit' });
  const { data, error } = await response.json().catch(() => ({}));
  if (data) return data;
  throw new StreamError(error ?? { message: `The gateway answered ${response.status} without saying why.` }, { status: response.status });
}

/** What the request of a completion is sent with, beyond what every request has. */
export const HEADERS = { 'content-type': 'application/json', 'tokenway-resumable': 'true' };

/**
 * Streams one completion to its end. Calls `take` at each step, with its time `at` (milliseconds, as performance.now):
 * - `{kind: 'head', response}` when the status is there, whatever it is,
 * - `{kind: 'delta', text, reasoning}` for each event with output; those that came together have the same time,
 * - `{kind: 'usage', usage}`, `{kind: 'finish', reason}` and `{kind: 'done'}` where the stream holds them,
 * - `{kind: 'cut', seq, tries, delay}` and `{kind: 'resumed', seq, response}` when the connection goes and comes again.
 *
 * Throws what `stream` of tokenway.js throws.
 */
export async function complete(gateway, request, { signal, network, take }) {
  const turn = clock();
  const chunks = stream(`${gateway}/v1/chat/completions`, { ...request, stream_options: { include_usage: true } }, {
    signal,
    credentials: 'omit',
    async fetch(url, init) {
      const response = await network.fetch(url, init);
      if (init.method === 'POST') take({ kind: 'head', at: performance.now(), response });
      return response;
    },
    onEvent({ type, data, ...facts }) {
      if (type === 'cut' || type === 'resumed') take({ kind: type, at: performance.now(), ...facts });
      if (data === '[DONE]') take({ kind: 'done', at: turn() });
    },
  });
  for await (const chunk of chunks) for (const step of steps(chunk, turn())) take(step);
}

function* steps({ choices, usage }, at) {
  const choice = choices?.[0];
  const text = choice?.delta?.content ?? choice?.delta?.refusal ?? '';
  const reasoning = choice?.delta?.reasoning_content ?? choice?.delta?.reasoning ?? '';
  if (text || reasoning) yield { kind: 'delta', at, text, reasoning };
  if (usage) yield { kind: 'usage', at, usage };
  if (choice?.finish_reason) yield { kind: 'finish', at, reason: choice.finish_reason };
}

/** Tells the time, and the same time throughout a turn of the event loop: events of one read from the network share it. */
function clock() {
  const { port1, port2 } = new MessageChannel();
  let now;
  port1.onmessage = () => { now = undefined; };
  return () => {
    if (now === undefined) port2.postMessage(null);
    return (now ??= performance.now());
  };
}
