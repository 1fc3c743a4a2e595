// openai-node against a gateway with `auto`, a cache and a budget: `node openai_auto.mjs BASE_URL`; the CA comes from
// NODE_EXTRA_CA_CERTS. Retries as the SDK does by itself. Prints what it made of each answer, as one JSON object.
import OpenAI, { APIError } from 'openai';

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'unused', timeout: 60_000 });
const request = { model: 'auto', messages: [{ role: 'user', content: 'Say hello.' }], max_tokens: 24 };

console.log(JSON.stringify({ answers: [await streamed(), await streamed(), await whole()], refused: await refused() }));

function told({ headers }, text, usage) {
  return { text, usage, model: headers.get('tokenway-model'), cache: headers.get('tokenway-cache') };
}

async function streamed() {
  const { data, response } = await client.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } }).withResponse();
  let [text, usage] = ['', null];
  for await (const chunk of data) {
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage ?? usage;
  }
  return told(response, text, usage);
}

async function whole() {
  const { data, response } = await client.chat.completions.create(request).withResponse();
  return told(response, data.choices[0].message.content, data.usage);
}

async function refused() {
  try {
    await client.chat.completions.create({ ...request, model: 'dear', max_tokens: 100_000 });
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    return { raised: error.constructor.name, code: error.code };
  }
}
