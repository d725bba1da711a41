/**
 * The lifecycle as plain HTTP: reserve and commit by `Pool.request` of undici and `JSON.parse`, with nothing checked but the
 * status. It is the floor of the client's benchmark and the load of the server's.
 */
import { Pool } from "undici"
import type { Address } from "./child.ts"

/** Runs lifecycles over connections of its own. */
export interface Plain {
  readonly run: (count: number, concurrency: number) => Promise<void>
  readonly close: () => Promise<void>
}

/** Makes the connections. */
export const make = ({ apiKey, url }: Address): Plain => {
  const pool = new Pool(url, { connections: 64, pipelining: 1 })
  const headers = { accept: "application/json", "content-type": "application/json", "x-cycles-api-key": apiKey }

  const post = async (path: string, body: object): Promise<unknown> => {
    const answer = await pool.request({ path, method: "POST", headers, body: JSON.stringify(body) })
    const text = await answer.body.text()
    if (answer.statusCode !== 200) throw new Error(`${path} was answered ${answer.statusCode}: ${text}`)
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
    run: (count, concurrency) => atOnce(count, concurrency, lifecycle),
    close: () => pool.destroy()
  }
}

/** The tenant of all benchmarks. */
export const tenant = "bench"

/** The act of all benchmarks. */
export const action = { kind: "llm.completion", name: "openai:gpt-5" }

const idOf = (answer: unknown): string => {
  if (typeof answer === "object" && answer !== null && "reservation_id" in answer) return String(answer.reservation_id)
  throw new Error("a reserve was answered without a reservation_id")
}

/** Runs something so many times, so many at a time. */
const atOnce = async (count: number, concurrency: number, run: () => Promise<void>): Promise<void> => {
  let left = count
  const loop = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      await run()
    }
  }
  await Promise.all(Array.from({ length: Math.min(count, concurrency) }, loop))
}
