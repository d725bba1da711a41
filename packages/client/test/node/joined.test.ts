/** Processes that are killed while guarded calls draw on the reservation of a run or of a guard. */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { join } from "node:path"
import { serveBridged } from "../support/bridge.ts"
import { flushTwice, runKilled } from "./killed.ts"
import { temporaryFolder } from "./support.ts"

describe("process killed while calls draw on a reservation", () => {
  it.live.each<readonly [lender: "run" | "guard", journal: string]>([
    ["run", "journal"],
    ["run", "journal.sqlite"],
    ["guard", "journal.sqlite"]
  ])(
    "leaves the drawn and the recorded spend to the next client, which commits it once: %s, %s",
    ([lender, journal]) =>
      Effect.gen(function* () {
        const { apiKey, server, url } = yield* serveBridged
        const target = join(temporaryFolder(), journal)
        yield* runKilled("joinAndDie.ts", url, apiKey, target, lender)
        expect(yield* server.books("TOKENS")).toMatchObject({ spent: 0n, reserved: 500n })
        yield* flushTwice(url, apiKey, target)
        expect(yield* server.books("TOKENS")).toMatchObject({ spent: 70n, reserved: 0n })
      }).pipe(Effect.scoped),
    20_000
  )
})
