// What the browser's CORS check does for a request, in words. Sections are those of the Fetch standard.

const SAFE_METHODS = ['GET', 'HEAD', 'POST'];
const SAFE_HEADERS = ['accept', 'accept-language', 'content-language', 'range'];
const FORM_TYPES = ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain'];

/** What makes the two URLs different origins: of `scheme`, `host`, `port`. Empty: they are the same origin. */
export function differences(page, target) {
  const [a, b] = [new URL(page), new URL(target)];
  return [
    a.protocol !== b.protocol && 'scheme',
    a.hostname !== b.hostname && 'host',
    port(a) !== port(b) && 'port',
  ].filter(Boolean);
}

/** Why the browser asks before it sends this request (§2.2.2, §4.8); empty: it sends it at once. */
export function preflightReasons(method, headers) {
  const reasons = SAFE_METHODS.includes(method.toUpperCase()) ? [] : [`the method is ${method}`];
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (lower === 'content-type') {
      const type = value.split(';')[0].trim().toLowerCase();
      if (!FORM_TYPES.includes(type)) reasons.push(`${lower}: ${type} is more than a form could send`);
    } else if (!SAFE_HEADERS.includes(lower)) {
      reasons.push(`the header ${lower} is not on the safe list`);
    }
  }
  return reasons;
}

/**
 * What Resource Timing says of a finished request; null where the server sent no Timing-Allow-Origin.
 * `before`: milliseconds until the request itself left: the preflight and the connection, if any were needed.
 */
export function timing(entry) {
  if (!entry || entry.requestStart === 0) return null;
  return {
    protocol: { h2: 'HTTP/2', 'http/1.1': 'HTTP/1.1', h3: 'HTTP/3' }[entry.nextHopProtocol] ?? entry.nextHopProtocol,
    before: entry.requestStart - entry.fetchStart,
    server: entry.serverTiming.map(({ name, duration }) => ({ name, duration })),
  };
}

/**
 * Why a fetch failed with a bare TypeError. The browser hides the reason from the page, but a `no-cors` request
 * succeeds wherever the gateway can be reached at all: then only the CORS check can have failed.
 */
export async function diagnose(gateway) {
  const reachable = await fetch(`${gateway}/healthz`, { mode: 'no-cors', cache: 'no-store', credentials: 'omit' }).then(() => true, () => false);
  return reachable ? 'refused' : 'unreachable';
}

function port({ protocol, port }) {
  return port || { 'https:': '443', 'http:': '80' }[protocol];
}
