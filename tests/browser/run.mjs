// `node run.mjs SCENARIO ARGUMENTS_JSON` runs one scenario in a real Chromium and prints what was seen, as one JSON object.
// It judges nothing: the Rust tests do (tests/it/browser.rs).
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Chromium } from './chromium.mjs';
import * as access from './access.mjs';
import * as scenarios from './scenarios.mjs';
import * as playground from './playground.mjs';
import { serveEmptyPage } from './sites.mjs';

const [name, json] = process.argv.slice(2);
const args = JSON.parse(json);
const scenario = { ...scenarios, ...playground, ...access }[name];
if (!scenario) throw new Error(`no scenario ${name}`);

const site = await serveEmptyPage();
const browser = await Chromium.launch({ spki: args.certificate ? [keyHash(args.certificate)] : [], preferences: args.preferences });
try {
  console.log(JSON.stringify(await scenario({ browser, page: `http://127.0.0.1:${site.port}`, other: `http://localhost:${site.port}`, allowed: `http://localhost:${site.port}`, refused: `http://127.0.0.1:${site.port}`, ...args })));
} finally {
  await browser.close();
  site.close();
}

/** What --ignore-certificate-errors-spki-list wants: the base64 SHA-256 of the leaf's public key. */
function keyHash(path) {
  const spki = new X509Certificate(readFileSync(path)).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('base64');
}
