// Mints a Tokenway token (HS256) with nothing but Node's own crypto.
//
// In a backend, call mint() where the user is known, and hand the result to the page:
//
//     TOKENWAY_TOKEN_SECRET=… node examples/mint-token.mjs user-17 300 https://app.example.com
import { createHmac } from 'node:crypto';
import { argv, env } from 'node:process';
import { fileURLToPath } from 'node:url';

/** A token for `subject` that is good for `seconds`; claims: origin, models, budget, rpm, tpm, streams. */
export function mint(secret, subject, seconds, claims = {}) {
  const header = { alg: 'HS256', typ: 'JWT' };
  const payload = { sub: subject, exp: Math.floor(Date.now() / 1000) + seconds, ...claims };
  const message = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${message}.${createHmac('sha256', secret).update(message).digest('base64url')}`;
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const [subject, seconds, origin] = argv.slice(2);
  console.log(mint(env.TOKENWAY_TOKEN_SECRET, subject, Number(seconds), { origin }));
}
