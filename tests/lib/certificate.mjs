// certificate.mjs - self-signed certificates for localhost and 127.0.0.1, made by the openssl program.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

const NAMES = 'subjectAltName=DNS:localhost,DNS:provider.test,IP:127.0.0.1';

/** Writes NAME.key and NAME.pem into the folder: {key, cert, ca}; `days` may be in the past. */
export function makeCertificate(folder, name = 'tls', days = 2) {
  const files = { key: path.join(folder, `${name}.key`), cert: path.join(folder, `${name}.pem`) };
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  args.push('-keyout', files.key, '-out', files.cert, '-days', String(days));
  args.push('-subj', `/CN=${name}`, '-addext', NAMES);
  execFileSync('openssl', args, { stdio: 'pipe' });
  return { ...files, ca: readFileSync(files.cert) };
}

/** For node:test's `skip` option. */
export const NO_OPENSSL = (() => {
  try {
    execFileSync('openssl', ['version'], { stdio: 'pipe' });
    return false;
  } catch {
    return 'openssl is not there to make a certificate';
  }
})();
