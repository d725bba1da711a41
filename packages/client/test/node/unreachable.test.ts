/** Processes that are killed while the server is away. */
import { Fault } from "@effect-cycles/testing"
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { join } from "node:path"
import { serveBridged } from "../support/bridge.ts"
import { flushTwice, runKilled } from "./killed.ts"
import { temporaryFolder } from "./support.ts"

describe("process killed while the server is away", () => {
  it.live.each<readonly [time: "after" | "during", journal: string]>([
    ["after", "journal"],
    ["after", "journal.sqlite"],
    ["during", "journal.sqlite"]
  ])(
    "leaves the spend of an allowed call to the next client, which charges it once: killed %s the call, %s",
    ([time, journal]) =>
      Effect.gen(function* () {
        const { apiKey, server, test, url } = yield* serveBridged
        const target = join(temporaryFolder(), journal)
        yield* test.always("any", Fault.connectionRefused)
        yield* runKilled("spendAwayAndDie.ts", url, apiKey, target, time)
        expect((yield* server.books("TOKENS")).spent).toBe(0n)
        yield* test.clearFaults()
        yield* flushTwice(url, apiKey, target)
        expect((yield* server.books("TOKENS")).spent).toBe(42n)
      }).pipe(Effect.scoped),
    20_000
  )
})
