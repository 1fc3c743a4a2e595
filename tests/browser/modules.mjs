// The pages' own modules that need no browser: the event parser against a plain reference, the metrics reader, the CORS
// explanations. Throws at the first difference; prints how much was compared.
import assert from 'node:assert/strict';
import { differences, preflightReasons } from '../../web/cors.mjs';
import { buckets, by, parse, quantile, since, sum } from '../../web/exposition.mjs';
import { EventParser } from '../../web/sse.mjs';

console.log(JSON.stringify({ streams: eventParser(), exposition: exposition(), cors: cors() }));

/** Random streams, cut at random places, against the standard's algorithm on the whole text. */
function eventParser() {
  const random = generator(7);
  const pick = (choices) => choices[Math.floor(random() * choices.length)];
  const pieces = ['data: a', 'data:b', 'data', 'data: ', 'data:  two', 'id: 1', 'id: a\0b', 'event: e', 'retry: 5', ': hb', ':', 'other: x', 'data: é世🚀', '\uFEFFdata: x', ''];
  const ends = ['\n', '\r', '\r\n', '\n\n', '\r\n\r\n', '\r\r', '\n\r'];
  for (let round = 0; round < 3000; round += 1) {
    const text = Array.from({ length: 1 + Math.floor(random() * 12) }, () => pick(pieces) + pick(ends)).join('') + pick(['', 'data: unfinished']);
    const parser = new EventParser();
    const events = [];
    for (let from = 0; from < text.length; ) {
      const to = from + Math.floor(random() * 5);
      events.push(...parser.push(text.slice(from, to)));
      from = to;
    }
    assert.deepEqual(events, reference(text), JSON.stringify(text));
  }
  assert.deepEqual(new EventParser().push('data: x\r\r').map(({ data }) => data), ['x'], 'a CR ends its line at once');
  return 3000;
}

function reference(text) {
  const lines = text.replaceAll('\r\n', '\n').replaceAll('\r', '\n').split('\n');
  lines.pop(); // unfinished
  const events = [];
  let [data, event, id] = [[], '', ''];
  for (const line of lines) {
    if (line === '') {
      if (data.length > 0) events.push({ event: event || 'message', data: data.join('\n'), id });
      [data, event] = [[], ''];
    }
    const [, field, value] = /^([^:]*)(?:: ?)?([^]*)$/.exec(line);
    if (field === 'data' && line !== '') data.push(value);
    if (field === 'event') event = value;
    if (field === 'id' && !value.includes('\0')) id = value;
  }
  return events;
}

function exposition() {
  const text = `# HELP h Some help.
# TYPE h histogram
h_bucket{model="a",le="0.1"} 2
h_bucket{model="a",le="1"} 4
h_bucket{model="a",le="+Inf"} 4
h_bucket{model="b",le="0.1"} 0
h_bucket{model="b",le="1"} 4
h_bucket{model="b",le="+Inf"} 5
requests{route="x \\"q\\" \\\\",outcome="ok"} 3
requests{route="y",outcome="rejected"} 4 1700000000
plain 1.5e3
`;
  const samples = parse(text);
  assert.equal(sum(samples, 'plain'), 1500);
  assert.equal(sum(samples, 'none'), 0);
  assert.equal(sum(samples, 'requests', { outcome: 'ok' }), 3);
  assert.deepEqual([...by(samples, 'requests', 'route')], [['x "q" \\', 3], ['y', 4]]);
  const histogram = buckets(samples, 'h');
  assert.deepEqual([...histogram], [[0.1, 2], [1, 8], [Infinity, 9]]);
  assert.equal(quantile(histogram, 2 / 9), 0.1);
  assert.ok(Math.abs(quantile(histogram, 5 / 9) - 0.55) < 1e-9);
  assert.equal(quantile(histogram, 1), 1, 'beyond the last bound nothing is known');
  assert.equal(quantile(new Map(), 0.5), null);
  assert.equal(quantile(since(histogram, histogram), 0.5), null, 'nothing new');
  assert.deepEqual([...since(new Map([[1, 1], [Infinity, 2]]), histogram)], [[1, 1], [Infinity, 2]], 'a restart');
  return 12;
}

function cors() {
  assert.deepEqual(differences('http://localhost:1/', 'https://localhost:1'), ['scheme']);
  assert.deepEqual(differences('https://a.example', 'https://a.example:443/v1'), []);
  assert.deepEqual(differences('http://127.0.0.1:5', 'https://localhost:8443'), ['scheme', 'host', 'port']);
  assert.deepEqual(preflightReasons('GET', {}), []);
  assert.deepEqual(preflightReasons('POST', { 'Content-Type': 'text/plain; charset=utf-8' }), []);
  assert.equal(preflightReasons('POST', { 'content-type': 'application/json' }).length, 1);
  assert.equal(preflightReasons('DELETE', { authorization: 'x', accept: '*/*' }).length, 2);
  return 7;
}

/** A small repeatable generator (mulberry32). */
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
