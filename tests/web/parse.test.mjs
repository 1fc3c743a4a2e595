// The event stream parser of tokenway.js against a plain reading of the standard on the whole text.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from '../../web/tokenway.js';
import { generator } from './gateway.mjs';

test('a stream means the same however its bytes are cut', async () => {
  const random = generator(7);
  const pick = (choices) => choices[Math.floor(random() * choices.length)];
  const pieces = ['data: a', 'data:b', 'data', 'data: ', 'data:  two', 'data: x: y', 'id: 1', 'id', 'id: a\0b', 'event: e', 'event', 'retry: 5', 'retry: 5x',
    ': hb', ':', 'other: x', 'data: é世🚀', '\uFEFFdata: x', ' data: x', ''];
  const ends = ['\n', '\r', '\r\n', '\n\n', '\r\n\r\n', '\r\r', '\n\r'];
  for (let round = 0; round < 3000; round += 1) {
    const text = Array.from({ length: 1 + Math.floor(random() * 12) }, () => pick(pieces) + pick(ends)).join('') + pick(['', 'data: unfinished']);
    const bytes = Buffer.from(text);
    const cuts = [];
    for (let from = 0; from < bytes.length; ) {
      const to = from + Math.floor(random() * 5);
      cuts.push(bytes.subarray(from, to));
      from = to;
    }
    assert.deepEqual(await events(cuts), reference(text), JSON.stringify(text));
  }
});

test('an event is there as soon as its last byte is', async () => {
  for (const text of ['data: x\n\n', 'data: x\r\r', 'data: x\r\n\r']) {
    let waits = 0;
    const stream = parse(async () => (waits++ === 0 ? { value: Buffer.from(text) } : new Promise(() => {})));
    assert.equal((await stream.next()).value.data, 'x', JSON.stringify(text));
  }
});

test('bytes that are no UTF-8 are replaced and end nothing', async () => {
  assert.deepEqual((await events([Buffer.from([...Buffer.from('data: a'), 0xff, 0xc3]), Buffer.from('b\n\ndata: c\n\n')])).map(({ data }) => data), ['a\uFFFD\uFFFDb', 'c']);
});

test('an event of a megabyte in small pieces takes no long time', async () => {
  const bytes = Buffer.from(`data: ${'x'.repeat(1 << 20)}\n\n`);
  const cuts = Array.from({ length: 64 }, (_, index) => bytes.subarray(index * (1 << 14), (index + 1) * (1 << 14)));
  cuts.push(bytes.subarray(1 << 20));
  const [{ data }] = await events(cuts);
  assert.equal(data.length, 1 << 20);
});

async function events(pieces) {
  const rest = [...pieces];
  const found = [];
  for await (const event of parse(async () => (rest.length > 0 ? { value: rest.shift(), done: false } : { done: true }))) found.push(event);
  return found;
}

function reference(text) {
  const lines = text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n').replaceAll('\r', '\n').split('\n');
  lines.pop(); // unfinished
  const events = [];
  let [data, type, id, retry] = [null, '', '', undefined];
  for (const line of lines) {
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (line === '') {
      if (data !== null) events.push({ type: type || 'message', data, id, retry });
      [data, type] = [null, ''];
    } else if (field === 'data') data = data === null ? value : `${data}\n${value}`;
    else if (field === 'event') type = value;
    else if (field === 'id' && !value.includes('\0')) id = value;
    else if (field === 'retry' && value !== '' && [...value].every((digit) => '0123456789'.includes(digit))) retry = Number(value);
  }
  return events;
}
