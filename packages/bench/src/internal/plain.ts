/**
 * The lifecycle in plain HTTP: reserve and commit with undici's `Pool.request` and `JSON.parse`, checking only the
 * status. It is the baseline of the client's benchmark and the load of the server's.
 */
import { Pool } from "undici"
import type { Address } from "./child.ts"
import type * as Latency from "./latency.ts"

/** Runs lifecycles over its own connections. */
export interface Plain {
  readonly run: (count: number, concurrency: number, latency?: Latency.Latency) => Promise<void>
  readonly close: () => Promise<void>
}

/** Opens the connections. */
export const make = ({ apiKey, url }: Address): Plain => {
  const pool = new Pool(url, { connections: 64, pipelining: 1 })
  const headers = { accept: "application/json", "content-type": "application/json", "x-cycles-api-key": apiKey }

  const post = async (path: string, body: object): Promise<unknown> => {
    const response = await pool.request({ path, method: "POST", headers, body: JSON.stringify(body) })
    const text = await response.body.text()
    if (response.statusCode !== 200) throw new Error(`${path} returned ${response.statusCode}: ${text}`)
    return JSON.parse(text)
  }

  const lifecycle = async (): Promise<void> => {
    const reserved = await post("/v1/reservations", {
      idempotency_key: crypto.randomUUID(),
      subject: { tenant },
      action,
      estimate: { unit: "TOKENS", amount: 1000 },
      ttl_ms: 60_000
    })
    await post(`/v1/reservations/${idOf(reserved)}/commit`, {
      idempotency_key: crypto.randomUUID(),
      actual: { unit: "TOKENS", amount: 42 },
      metrics: { latency_ms: 0 }
    })
  }

  return {
    run: (count, concurrency, latency) => atOnce(count, concurrency, latency, lifecycle),
    close: () => pool.destroy()
  }
}

/** The tenant of all benchmarks. */
export const tenant = "bench"

/** The action of all benchmarks. */
export const action = { kind: "llm.completion", name: "openai:gpt-5" }

const idOf = (response: unknown): string => {
  if (typeof response === "object" && response !== null && "reservation_id" in response)
    return String(response.reservation_id)
  throw new Error("the response to a reserve has no reservation_id")
}

/** Runs a function a number of times, with limited concurrency. */
export const atOnce = async (
  count: number,
  concurrency: number,
  latency: Latency.Latency | undefined,
  run: () => Promise<unknown>
): Promise<void> => {
  let left = count
  const loop = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      const startedAt = performance.now()
      await run()
      latency?.add(performance.now() - startedAt)
    }
  }
  await Promise.all(Array.from({ length: Math.min(count, concurrency) }, loop))
}
