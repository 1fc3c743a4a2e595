// The pages' own modules that need no browser: the metrics reader, the dashboard's tables, the CORS explanations. Throws at the first difference; prints how much was compared.
import assert from 'node:assert/strict';
import { differences, preflightReasons } from '../../web/cors.mjs';
import { buckets, by, parse, quantile, since, sum } from '../../web/exposition.mjs';
import * as ledger from '../../web/ledger.mjs';

console.log(JSON.stringify({ exposition: exposition(), tables: tables(), cors: cors() }));

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

function tables() {
  const samples = parse(`tokenway_requests_total{route="chat",model="a",status="200",outcome="ok"} 1200
tokenway_requests_total{route="chat",model="",status="429",outcome="rejected"} 3
tokenway_cost_dollars_total{model="a",source="usage"} 1.5
tokenway_cost_dollars_total{model="a",source="estimate"} 0.25
tokenway_cost_dollars_total{model="old",source="usage"} 0.000042
tokenway_caller_cost_dollars_total{caller="anonymous"} 1.75
tokenway_origin_cost_dollars_total{origin="https://app.example"} 0.75
tokenway_origin_cost_dollars_total{origin="none"} 1
tokenway_saved_dollars_total{by="cache"} 0.5
tokenway_saved_dollars_total{by="routing"} 2
tokenway_lost_dollars_total{by="routing"} 0.125
tokenway_cache_total{result="hit"} 2
tokenway_cache_total{result="joined"} 1
tokenway_cache_total{result="miss"} 3
tokenway_cache_total{result="off"} 9
tokenway_routes_total{verdict="easy",by="classifier"} 7
tokenway_classifier_failures_total{reason="timeout"} 1
tokenway_fallbacks_total{from="a",to="b",reason="first_event_timeout"} 4
tokenway_hedges_total{from="a",to="b",result="won"} 2
tokenway_rate_limited_total{limit="tokens"} 0
tokenway_budget_exceeded_total{action="refused"} 5
`);
  const shown = (model, health, upstreamHealth) => ({ model, upstream: 'u', health, upstream_health: upstreamHealth });
  assert.deepEqual(ledger.models(samples, [shown('a', 'open', 'closed'), shown('b', 'closed', 'probing')]), [
    ['a', 'left alone', '1,200', '$1.7500'], ['b', 'u: probing', '0', '$0.00'], ['old', 'not configured', '0', '$0.000042'],
  ]);
  assert.equal(ledger.saved(samples), 2.375);
  assert.deepEqual(ledger.savings(samples), [['routing', '$2.0000'], ['cache', '$0.5000'], ['routing, lost', '−$0.1250']]);
  assert.deepEqual(ledger.spenders(samples), [['caller anonymous', '$1.7500'], ['without a page', '$1.0000'], ['page https://app.example', '$0.7500']]);
  assert.equal(ledger.cacheShare(samples), 0.5, 'what the cache has no part in is not counted');
  assert.equal(ledger.cacheShare(new Map()), null);
  assert.deepEqual(ledger.cache(samples), [['off', '9'], ['miss', '3'], ['hit', '2'], ['joined', '1']]);
  assert.deepEqual(ledger.routes(samples), [['easy, by classifier', '7'], ['no verdict: timeout', '1']]);
  assert.deepEqual(ledger.fallbacks(samples), [['a', 'b', 'first event timeout', '4'], ['a', 'b', 'slow; won', '2']]);
  assert.deepEqual(ledger.limits(samples), [['budget of the day: refused', '5']], 'zeros are not told');
  assert.deepEqual(ledger.outcomes(samples), [['ok', '1,200'], ['rejected', '3']]);
  assert.deepEqual(ledger.fallbacks(new Map()), []);
  assert.equal(ledger.dollars(1234.5), '$1,234.50');
  return 13;
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
