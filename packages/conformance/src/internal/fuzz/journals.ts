/**
 * Journals on a disk that is damaged, between two clients or under an open one: spend in files that weren't damaged is
 * charged once, a later call works, and the records that were reported as journaled after the damage exist.
 */
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Arbitrary from "effect/Arbitrary"
import * as CyclesServer from "@effect-cycles/server/CyclesServer"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Cycles from "effect-cycles/Cycles"
import { retryPolicy } from "effect-cycles/CyclesConfig"
import * as CyclesTransport from "effect-cycles/CyclesTransport"
import * as JournalFiles from "effect-cycles/node/JournalFiles"
import * as JournalSqlite from "effect-cycles/node/JournalSqlite"
import type { Settlement } from "effect-cycles/Settlement"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { temporaryFolder } from "../temporaryFolder.ts"
import type { Area } from "./area.ts"
import { Damage, damage, filesBelow, isNoticed, restore } from "./damage.ts"
import type { SecretScan } from "./secretScan.ts"
import * as Watch from "./watch.ts"

const Case = Schema.Struct({
  kind: Schema.Literals(["files", "sqlite"]),
  /** The number of calls whose commits are lost before the damage. */
  calls: Schema.Literals([1, 2, 3]),
  /** Whether the first client is open during the damage, and makes another call after it. */
  isOpen: Schema.Boolean,
  damages: Schema.Array(Damage).check(Schema.isMinLength(1), Schema.isMaxLength(3))
})

type Case = typeof Case.Type

/** The area. */
export const journals: Area<Case> = {
  name: "journals",
  weight: 4,
  concurrency: 2,
  cases: Arbitrary.schema(Case),
  start: (scan) => Effect.succeed((value) => Watch.within(limits, scan.watch(Effect.scoped(play(value, scan)))))
}

const limits: Watch.Limits = { timeMs: 60_000, bytes: 400 * 1_048_576 }

/** No operation on a damaged journal takes longer, in time of the event loop. */
const callMs = 15_000

/** The spend of each call is a different power of ten, so that a sum shows which calls were charged. */
const spendOf = (call: number): number => 10 ** call

const play = (value: Case, scan: SecretScan) =>
  Effect.gen(function* () {
    const root = yield* temporaryFolder
    yield* Effect.addFinalizer(() => Effect.sync(() => restore(root)))
    const folder = join(root, "journal")
    const server = yield* CyclesServer.makeMemoryServer({ budgets: [{ unit: "TOKENS", allocated: 1_000_000_000 }] })
    scan.hide(Redacted.value(server.apiKey))
    let isBroken = true
    const inner = CyclesServer.transport(server)
    const transport = CyclesTransport.fromStart((request, context, done) => {
      const isSettlement = /\/commit$|\/events$/.test(request.url)
      if (!isSettlement || !isBroken) return inner.start(request, context, done)
      done(Exit.fail({ kind: "interrupted", mayHaveArrived: true, problem: "ECONNRESET", cause: undefined }))
      return () => {}
    })
    const layer = Cycles.layer({
      baseUrl: server.baseUrl,
      apiKey: server.apiKey,
      subject: { tenant: server.tenant },
      retry: retryPolicy({ times: 0 }),
      flushTimeout: "100 millis",
      scanInterval: "1 second"
    }).pipe(
      Layer.provide([
        Layer.succeed(CyclesTransport.CyclesTransport, transport),
        value.kind === "files"
          ? JournalFiles.layer({ folder })
          : JournalSqlite.layer({ filename: join(folder, "journal.sqlite") })
      ])
    )
    const violations: Array<string> = []
    const bounded = <A, E, R>(what: string, effect: Effect.Effect<A, E, R>) =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(Watch.timeoutOption(effect, callMs))
        scan.see("error", exit)
        if (Exit.isFailure(exit)) violations.push(`${what} failed: ${Cause.pretty(exit.cause)}`)
        else if (exit.value._tag === "None") violations.push(`${what} didn't end within ${callMs} ms`)
      })
    /** The spend that the journal has, by the calls whose settlement reported so. */
    const journaled = new Map<number, Settlement>()
    const call = (index: number) =>
      bounded(
        `call ${index}`,
        Cycles.withCycles(Effect.void, {
          action: { kind: "llm.completion", name: "fuzz" },
          estimate: Amount.tokens(spendOf(index)),
          onSettled: (settlement) => Effect.sync(() => void journaled.set(index, settlement))
        })
      )

    const spoil = Effect.sync((): ReadonlyArray<string> | undefined => {
      const spoilt: Array<string> = []
      for (const one of value.damages) {
        const paths = damage(folder, one, value.isOpen)
        if (paths === undefined) return undefined
        spoilt.push(...paths)
      }
      return spoilt
    })

    /** The reservations whose records no damage touches. */
    const safeAfter = (before: ReadonlyMap<string, string>, spoilt: ReadonlyArray<string> | undefined) =>
      spoilt === undefined || value.kind === "sqlite"
        ? []
        : Array.from(before).flatMap(([path, text]) => (spoilt.includes(path) ? [] : [text]))

    let before: ReadonlyMap<string, string> = new Map()
    let spoilt: ReadonlyArray<string> | undefined = []
    const snapshot = () => new Map(filesBelow(folder).map((path) => [path, readFileSync(path, "latin1")] as const))
    yield* bounded(
      "the first client",
      Effect.provide(
        Effect.gen(function* () {
          for (let i = 0; i < value.calls; i++) yield* call(i)
          if (!value.isOpen) return
          before = snapshot()
          spoilt = yield* spoil
          yield* call(value.calls)
        }),
        layer,
        { local: true }
      )
    )
    if (!value.isOpen) {
      before = snapshot()
      spoilt = yield* spoil
    }
    isBroken = false
    yield* bounded(
      "the second client",
      Effect.provide(
        Effect.gen(function* () {
          yield* call(6)
          yield* Effect.ignore(Stream.runDrain(Cycles.deadLetters))
          yield* Cycles.flush("2 seconds")
        }),
        layer,
        { local: true }
      )
    )
    const { reserved: _, spent } = yield* server.books("TOKENS")
    const digits = String(spent).padStart(7, "0").split("").toReversed()
    if (digits.some((digit) => digit !== "0" && digit !== "1")) violations.push(`charged twice: ${spent}`)
    const isCharged = (index: number): boolean => digits[index] === "1"
    if (!isCharged(6)) violations.push("the call after the damage wasn't charged")
    for (const text of safeAfter(before, spoilt)) {
      for (let i = 0; i < value.calls; i++) {
        const id = Object(journaled.get(i))["reservationId"]
        if (typeof id === "string" && text.includes(id) && !isCharged(i)) {
          violations.push(`call ${i} wasn't charged, although its file wasn't damaged`)
        }
      }
    }
    const late: Readonly<Record<string, unknown>> = Object(journaled.get(value.calls))
    if (value.isOpen && value.damages.every(isNoticed) && late["isJournaled"] === true && !isCharged(value.calls)) {
      violations.push("spend that was reported as journaled after the damage wasn't charged")
    }
    scan.seeFolder("journal", root)
    return violations
  })
