// openai-node against the gateway: `node openai_stream.mjs BASE_URL MODEL [EXTRA_JSON]`; the CA comes from NODE_EXTRA_CA_CERTS.
// EXTRA_JSON is merged into every request. Prints what the SDK made of each answer, as one JSON object.
import OpenAI, { APIError } from 'openai';

const [baseURL, model, extra = '{}'] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'unused', maxRetries: 0, timeout: 60_000 });
const request = { model, messages: [{ role: 'user', content: 'Say hello.' }], max_tokens: 24, temperature: 0, ...JSON.parse(extra) };

console.log(JSON.stringify({
  models: await models(),
  stream: await streamed(),
  whole: await whole(),
  unknown_model: await failure(() => client.chat.completions.create({ ...request, model: 'no-such-model' })),
  abort: await aborted(),
}));

async function models() {
  const ids = [];
  for await (const { id } of client.models.list()) ids.push(id);
  return ids;
}

async function streamed() {
  const begun = performance.now();
  const arrivals = [];
  let [text, finish, usage, model] = ['', null, null, null];
  const stream = await client.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    const choice = chunk.choices[0];
    if (choice?.delta.content) {
      text += choice.delta.content;
      arrivals.push(performance.now() - begun);
    }
    finish = choice?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
    model = chunk.model;
  }
  return { text, model, finish, usage, tokens: arrivals.length, first_token_ms: arrivals[0] ?? null, last_token_ms: arrivals.at(-1) ?? null };
}

async function whole() {
  const { data, response, request_id } = await client.chat.completions.create(request).withResponse();
  const [choice] = data.choices;
  return { text: choice.message.content, finish: choice.finish_reason, usage: data.usage, request_id: request_id ?? response.headers.get('x-request-id') };
}

async function failure(attempt) {
  try {
    await attempt();
    return { raised: null };
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    return { raised: error.constructor.name, status: error.status, code: error.code, message: error.message, request_id: error.requestID };
  }
}

/** Leaves after the third token of a stream that would go on. */
async function aborted() {
  const stream = await client.chat.completions.create({ ...request, max_tokens: 400, stream: true });
  let tokens = 0;
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content) tokens += 1;
    if (tokens === 3) stream.controller.abort();
  }
  return { tokens, aborted: stream.controller.signal.aborted };
}
