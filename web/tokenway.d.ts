/**
 * A chat completion by fetch that survives the network. `url` is the gateway's `/v1/chat/completions`, or `/v1/chat`.
 *
 * ```js
 * import { stream } from './tokenway.js';
 *
 * const controller = new AbortController(); // controller.abort() stops the model
 * const answer = stream('https://gateway.example/v1/chat/completions', { model: 'gpt-4o', messages }, { signal: controller.signal });
 * for await (const chunk of answer) output.textContent += chunk.choices[0]?.delta.content ?? '';
 * console.log(`first token after ${answer.firstTokenMs} ms`);
 * ```
 *
 * When the connection is cut, the stream goes on by itself from the event after the last one that it had: no event is
 * lost or doubled, and the model is asked once.
 */
export function stream(url: string | URL, body: CompletionRequest | null, options?: StreamOptions): Stream;

/** As the chat completions API takes it; `stream: true` is added. */
export interface CompletionRequest {
  messages: unknown[];
  model?: string;
  [field: string]: unknown;
}

export interface StreamOptions {
  /**
   * Stops the stream: the gateway cancels the model at once (`DELETE /v1/streams/{id}`), the iteration throws the
   * signal's reason. Only `controller.abort(LEAVE)` leaves it running instead, to be picked up again with `resume`.
   * So does `break` in a `for await`, and closing the page: the gateway then stops the model after its `resume.grace`.
   */
  signal?: AbortSignal | null;
  /**
   * `true` (default): a cut stream goes on by itself. `false`: plain streaming, a cut throws, and leaving in any way
   * stops the model. `{ id, from }`: joins a stream that was begun earlier or in another tab, behind the event `from`
   * (default 0, the whole stream); nothing is posted and `body` is not used.
   */
  resume?: boolean | { id: string; from?: number };
  /** Each piece of `delta.content`, before the iteration yields its chunk. */
  onToken?(text: string, chunk: CompletionChunk): void;
  /** Milliseconds from the first request to the first output: content, reasoning, refusal or tool call. */
  onFirstToken?(milliseconds: number): void;
  /** Everything that happens, in order, before the iteration yields what comes of it. */
  onEvent?(event: StreamEvent): void;
  /** Sent with every request; `authorization`, say. */
  headers?: Record<string, string>;
  /** As for fetch. */
  credentials?: RequestCredentials;
  /** Used in place of the global one. */
  fetch?: typeof globalThis.fetch;
}

export type StreamEvent =
  /** The first answer of the gateway; its headers name the request (`x-request-id`) and the model. */
  | { type: 'open'; seq: number; response: Response }
  /** An event of the model, the last one (`[DONE]`) included. */
  | { type: 'data'; seq: number; data: string }
  /** The connection is gone; the next try follows in `delay` milliseconds, or when the browser comes online. */
  | { type: 'cut'; seq: number; tries: number; delay: number; error: unknown }
  /** The stream goes on, behind the event `seq`. */
  | { type: 'resumed'; seq: number; response: Response };

/**
 * The chunks of a stream, `[DONE]` not among them. The request is sent when the first chunk is asked for. An end without
 * an exception is the model's own end.
 *
 * Throws a {@link StreamError}; the signal's reason where `signal` fired; and what fetch throws (a TypeError) where the
 * gateway could not be reached at all.
 */
export interface Stream extends AsyncGenerator<CompletionChunk, void, undefined> {
  /** The stream's id, once it is known and if the stream can be resumed. */
  readonly id?: string | null;
  /** The number of the last event that was taken. With `id`, the place where another page can go on. */
  readonly seq: number;
  /** Milliseconds from the first request to the first output; undefined before it. */
  readonly firstTokenMs?: number;
}

/** What the gateway, or the model behind it, refused or broke off. */
export class StreamError extends Error {
  readonly name: 'StreamError';
  /**
   * The gateway's code (`rate_limited`, `upstream_failure`, `stream_not_found`, …). Two are of this module: `cut`, where
   * the connection is gone and the stream cannot be resumed, and `gap`, where the gateway no longer holds a part of it.
   */
  readonly code?: string;
  /** For the operator of the gateway: it stands in its log. */
  readonly requestId?: string;
  /** Of a refusal; absent where the stream itself broke. */
  readonly status?: number;
  /** Of a refusal: milliseconds to wait before another try; 0 where the gateway did not say. */
  readonly retryAfter?: number;
  /** Of a `gap`: the first and the last event that are lost; on the connection that made the stream, the message tells them instead. `{ resume: { id, from: to } }` goes on behind it. */
  readonly from?: number;
  readonly to?: number;
}

/** The reason with which `controller.abort(LEAVE)` leaves a stream running. */
export const LEAVE: DOMException;

/** `text/event-stream` (HTML Living Standard §9.2.6) as it comes: split anywhere, lines ended by LF, CR or CRLF. */
export function parse(read: () => Promise<{ value?: Uint8Array; done?: boolean }>): AsyncGenerator<ServerSentEvent, void, undefined>;

export interface ServerSentEvent {
  /** `message` unless the event names another. */
  type: string;
  data: string;
  /** The last id so far; empty where there was none. */
  id: string;
  /** The last `retry:` so far, in milliseconds. */
  retry?: number;
}

/** A chunk of a completion, as the chat completions API streams it; no field is checked. */
export interface CompletionChunk {
  id: string;
  model: string;
  choices: { index: number; delta: { role?: string; content?: string | null; [field: string]: unknown }; finish_reason: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | null;
  [field: string]: unknown;
}
