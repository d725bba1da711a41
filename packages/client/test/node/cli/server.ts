/** Fake servers and variables for the tests of the doctor. */
import * as Effect from "effect/Effect"
import type { ServerResponse } from "node:http"
import { vi } from "vitest"
import type { Env } from "./support.ts"

/** A key that no server has. */
export const key = "cyc_live_0123456789abcdef"

/** The variables of a client of `acme`. */
export const envOf = (url: string, more?: Env): Env => ({
  CYCLES_BASE_URL: url,
  CYCLES_API_KEY: key,
  CYCLES_TENANT: "acme",
  ...more
})

/** Responds with JSON. */
export const json =
  (status: number, body: unknown, headers?: Readonly<Record<string, string>>) => (outgoing: ServerResponse) =>
    void outgoing.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))

/** Sets a variable of this process until the end of the test. */
export const stubEnv = (name: string, value: string) =>
  Effect.acquireRelease(
    Effect.sync(() => vi.stubEnv(name, value)),
    () => Effect.sync(() => vi.unstubAllEnvs())
  )

/** A page of reservations. */
export const emptyList = { reservations: [], has_more: false, next_cursor: null }
