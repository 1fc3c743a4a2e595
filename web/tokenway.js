// Chat completions that survive the network. Types: tokenway.d.ts.

/** Cuts in a row until a stream is given up. */
const TRIES = 8;
/** Milliseconds. The pause doubles from the first, or the server's `retry:`. */
const [FIRST_PAUSE, MAX_PAUSE, MAX_WAIT] = [500, 8000, 60_000];
/** Three heartbeats are missing: a dead line. */
const SILENCE = 45_000;

export const LEAVE = new DOMException('left the stream', 'AbortError');

export class StreamError extends Error {
  constructor({ message, code, request_id: requestId }, facts) {
    super(message);
    Object.assign(this, { name: 'StreamError', code, requestId, ...facts });
  }
}

export function stream(url, body, options = {}) {
  const { resume = true, onEvent, onToken, onFirstToken } = options;
  const self = Object.assign(chunks(), { id: resume.id, seq: resume.from ?? 0 });
  return self;

  async function* chunks() {
    const begun = performance.now();
    for await (const event of events(self, url, body, { ...options, resume })) {
      onEvent?.(event);
      if (!event.data?.startsWith('{')) continue;
      const chunk = JSON.parse(event.data);
      if (chunk.error) throw new StreamError(chunk.error);
      const { role, ...output } = chunk.choices?.[0]?.delta ?? {};
      if (!self.firstTokenMs && Object.values(output).some((part) => part?.length ?? part)) {
        self.firstTokenMs = performance.now() - begun;
        onFirstToken?.(self.firstTokenMs);
      }
      if (output.content) onToken?.(output.content, chunk);
      yield chunk;
    }
  }
}

/** All that happens to a stream. */
async function* events(self, url, body, { signal, resume, headers, credentials, fetch = globalThis.fetch }) {
  let [line, tries, pause, over] = [new AbortController(), 0, FIRST_PAUSE];
  const place = () => String(url).replace(/chat(\/completions)?(\?.*)?$/, `streams/${self.id}`);
  const send = (to, init, more) => fetch(to, { credentials, signal: line.signal, headers: { ...headers, ...more }, ...init });
  const connect = () => self.id
    // in a cache, two readers of one URL would wait for each other
    ? send(`${place()}?from=${self.seq}`, { cache: 'no-store' })
    : send(url, { method: 'POST', body: JSON.stringify({ ...body, stream: true }) },
      { 'content-type': 'application/json', ...(resume && { 'tokenway-resumable': 'true' }) });
  const abort = () => {
    if (self.id && signal.reason !== LEAVE) send(place(), { method: 'DELETE', keepalive: true, signal: null }).catch(() => {});
    line.abort();
  };
  signal?.addEventListener('abort', abort);
  try {
    for (;;) {
      signal?.throwIfAborted();
      let error = new StreamError({ message: 'The connection was cut.', code: 'cut' });
      const response = await heard(connect(), self.id && line).catch((thrown) => void (error = thrown));
      if (response?.status === 204) return;
      if (response?.ok) {
        const type = self.id ? 'resumed' : 'open';
        if (resume) self.id ??= response.headers.get('tokenway-stream-id');
        yield { type, seq: self.seq, response };
        const reader = response.body.getReader();
        for await (const { type, data, id, retry = pause } of parse(() => heard(reader.read(), self.id && line).catch(() => ({ done: true })))) {
          signal?.throwIfAborted();
          const seq = Number(id) || self.seq + 1;
          const gap = type === 'gap' ? JSON.parse(data) : seq > self.seq + 1 && { from: self.seq + 1, to: seq - 1 };
          if (gap) throw new StreamError({ message: 'Events were lost.', code: 'gap' }, gap);
          // a shutdown is a cut
          if (type !== 'message' || seq <= self.seq || self.id && /^{"error":.*"draining"/.test(data)) continue;
          [self.seq, tries, pause, over] = [seq, 0, retry, data === '[DONE]'];
          yield { type: 'data', seq, data };
        }
        if (over) return;
      } else if (response) {
        const { status } = response;
        const { error: why = { message: `Status ${status}` } } = await response.json().catch(() => ({}));
        error = new StreamError(why, { status, retryAfter: response.headers.get('retry-after') * 1000 });
        if (status < 500 && status !== 429) throw error;
      }
      signal?.throwIfAborted();
      const { retryAfter = 0 } = error;
      if (!self.id || tries >= TRIES || retryAfter > MAX_WAIT) throw error;
      const delay = retryAfter + Math.min(pause * 2 ** tries++, MAX_PAUSE) * (1 + Math.random()) / 2;
      line.abort();
      line = new AbortController();
      yield { type: 'cut', seq: self.seq, tries, delay, error };
      await sleep(delay, line);
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    line.abort();
  }
}

/** Ends a silent line. */
function heard(promise, line) {
  const timer = line && setTimeout(() => line.abort(), SILENCE);
  return promise.finally(() => clearTimeout(timer));
}

/** Or until the line ends or the browser comes online. */
const sleep = (ms, { signal }) => new Promise((wake) => {
  setTimeout(wake, signal.aborted ? 0 : ms);
  signal.addEventListener('abort', wake);
  globalThis.addEventListener?.('online', wake, { signal });
});

export async function* parse(read) {
  const decoder = new TextDecoder();
  let [rest, afterCr, data, type, id, retry] = ['', false, [], '', ''];
  for (let piece; !(piece = await read()).done; ) {
    let text = decoder.decode(piece.value, { stream: true });
    if (!text) continue;
    // a CR ends its line at once; its LF may come later
    if (afterCr && text[0] === '\n') text = text.slice(1);
    afterCr = text.endsWith('\r');
    const lines = (rest + text).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) {
      const [, field, value] = /^([^:]*):? ?([^]*)$/.exec(line);
      if (!line) {
        if (data.length) yield { type: type || 'message', data: data.join('\n'), id, retry };
        [data, type] = [[], ''];
      } else if (field === 'data') data.push(value);
      else if (field === 'event') type = value;
      else if (field === 'id' && !value.includes('\0')) id = value;
      else if (field === 'retry' && /^\d+$/.test(value)) retry = +value;
    }
  }
}
