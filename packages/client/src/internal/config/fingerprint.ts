/**
 * The fingerprint of a journal's owner: a digest of the server and the tenant, or of the server and the key if no
 * tenant is configured.
 *
 * It is slow by design, so that a key can't be guessed from the name of a folder. The other Cycles clients compute the
 * same fingerprint, and so find each other's records.
 *
 * @see journal format 1 of the client recovery profile
 */
import * as Effect from "effect/Effect"
import * as Hex from "effect/encoding/Hex"
import * as Redacted from "effect/Redacted"

/**
 * Computes 16 hexadecimal digits by PBKDF2-HMAC-SHA256 with 30,000 rounds. Takes about 20 ms, outside the event loop.
 */
export const fingerprint = (options: {
  readonly baseUrl: string
  readonly tenant?: string | undefined
  readonly apiKey: Redacted.Redacted
}): Effect.Effect<string> =>
  Effect.promise(async () => {
    const { subtle } = globalThis.crypto
    const tenant = options.tenant?.trim() ?? ""
    const principal = tenant === "" ? `key\n${Redacted.value(options.apiKey)}` : `tenant\n${tenant}`
    const key = await subtle.importKey("raw", utf8.encode(principal), "PBKDF2", false, ["deriveBits"])
    const bits = await subtle.deriveBits(
      {
        name: "PBKDF2",
        hash: "SHA-256",
        salt: utf8.encode(`runcycles-commit-journal\n${options.baseUrl}`),
        iterations: 30_000
      },
      key,
      256
    )
    return Hex.encode(new Uint8Array(bits)).slice(0, 16)
  })

const utf8 = new TextEncoder()
