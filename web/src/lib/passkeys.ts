/** What browsers speak of passkeys as JSON (WebAuthn Level 3); older ones do without passkeys here. */
interface JsonCredentials {
  parseRequestOptionsFromJSON?: (options: unknown) => PublicKeyCredentialRequestOptions;
}

export const canPasskeys = (): boolean =>
  typeof PublicKeyCredential !== 'undefined' &&
  typeof (PublicKeyCredential as unknown as JsonCredentials).parseRequestOptionsFromJSON === 'function';

/** What the passkey answers to the server's options, for the server. */
export async function askPasskey(options: unknown): Promise<Record<string, unknown>> {
  const parse = (PublicKeyCredential as unknown as Required<JsonCredentials>).parseRequestOptionsFromJSON;
  const credential = (await navigator.credentials.get({ publicKey: parse(options) })) as PublicKeyCredential;
  return credential.toJSON() as Record<string, unknown>;
}
