// The pages' own modules that need no browser: the metrics reader, the CORS explanations. Throws at the first difference; prints how much was compared.
import assert from 'node:assert/strict';
import { differences, preflightReasons } from '../../web/cors.mjs';
import { buckets, by, parse, quantile, since, sum } from '../../web/exposition.mjs';

console.log(JSON.stringify({ exposition: exposition(), cors: cors() }));

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
