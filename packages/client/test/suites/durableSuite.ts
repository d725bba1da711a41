/**
 * The contract of journals on disk, beyond that of all journals: open records of processes that are killed or stopped,
 * and records of an older client.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { SettlementJournal } from "effect-cycles"
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import { readdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { vi } from "vitest"
import { owner, record } from "../node/records.ts"

/** A journal on disk. */
export interface Store {
  readonly name: string
  /** The path of a journal that doesn't exist yet. */
  readonly target: () => string
  readonly layer: (target: string) => Layer.Layer<SettlementJournal.SettlementJournal>
  /** The folder of the locks. */
  readonly owners: (target: string) => string
}

/** Passes an open journal to `body`, and closes it when `body` has ended. */
export const using = <A, E>(
  layer: Layer.Layer<SettlementJournal.SettlementJournal>,
  body: (journal: SettlementJournal.Journal) => Effect.Effect<A, E, Scope.Scope>,
  journalOwner = owner
) =>
  Effect.flatMap(SettlementJournal.SettlementJournal, (store) => Effect.flatMap(store.open(journalOwner), body)).pipe(
    Effect.scoped,
    Effect.provide(layer)
  )

/** The reservation ids of the pending records. */
export const pendingIds = (journal: SettlementJournal.Journal) =>
  Effect.map(Stream.runCollect(journal.pending), (records) => records.map((one) => String(one.reservationId)))

/** Makes a child adopt, and returns the number of records that became pending. */
export const adoptInChild = (child: ChildProcess): Effect.Effect<number> =>
  Effect.promise(async () => {
    const count = nextLine(child)
    child.stdin?.write("go\n")
    return Number(await count)
  })

/** Starts a child process. It is killed when the scope closes. */
export const start = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = spawn(process.execPath, [join(import.meta.dirname, "../node/journalChild.ts"), ...args], {
        stdio: ["pipe", "pipe", "inherit"]
      })
      await nextLine(child)
      return child
    }),
    (child) => kill(child)
  )

/** The next line that a child prints. */
const nextLine = (child: ChildProcess): Promise<string> =>
  new Promise((resolve, reject) => {
    child.stdout?.once("data", (data: Buffer) => resolve(data.toString().trim()))
    child.once("exit", () => reject(new Error("the child has ended")))
  })

const kill = (child: ChildProcess) =>
  Effect.promise(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => void child.once("exit", resolve))
    child.kill("SIGKILL")
    await ended
  })

/** Declares the tests of the contract. */
export const durableSuite = ({ layer, name, owners, target: makeTarget }: Store): void =>
  void describe(`open records (${name})`, () => {
    const test = (what: string, body: () => Effect.Effect<void, unknown>) => it.live(what, body, 60_000)

    test("become pending when their process is killed, once and with all their fields", () =>
      Effect.gen(function* () {
        const target = makeTarget()
        const child = yield* start(target, "hold", "r", "3")
        yield* using(layer(target), (journal) =>
          Effect.gen(function* () {
            expect(yield* journal.adoptOpen).toBe(0)
            expect(yield* pendingIds(journal)).toEqual([])
            yield* kill(child)
            expect(yield* journal.adoptOpen).toBe(3)
            expect(yield* journal.adoptOpen).toBe(0)
            expect(yield* Stream.runCollect(journal.pending)).toEqual([record("r0"), record("r1"), record("r2")])
            expect(readdirSync(owners(target))).toEqual([])
          })
        )
      }).pipe(Effect.scoped))

    test("become pending exactly once when several processes and handles adopt them at the same time", () =>
      Effect.gen(function* () {
        const target = makeTarget()
        const dead = yield* Effect.forEach(["a", "b", "c"], (prefix) => start(target, "hold", prefix, "20"), {
          concurrency: "unbounded"
        })
        const alive = yield* start(target, "hold", "alive", "5")
        yield* Effect.forEach(dead, kill)
        const adopters = yield* Effect.forEach([1, 2], () => start(target, "adopt"), { concurrency: "unbounded" })
        const inChildren = adopters.map(adoptInChild)
        const inHandles = [1, 2].map(() => using(layer(target), (journal) => journal.adoptOpen))
        const counts = yield* Effect.all([...inHandles, ...inChildren], { concurrency: "unbounded" })
        yield* using(layer(target), (journal) =>
          Effect.gen(function* () {
            // A handle that finds another one adopting leaves the rest to it.
            const late = yield* journal.adoptOpen
            expect(counts.reduce((sum, count) => sum + count, late)).toBe(60)
            const expected = ["a", "b", "c"].flatMap((prefix) => Array.from({ length: 20 }, (_, n) => `${prefix}${n}`))
            expect((yield* pendingIds(journal)).toSorted()).toEqual(expected.toSorted())
          })
        )
        expect(alive.exitCode).toBeNull()
      }).pipe(Effect.scoped))

    test("become pending when their process ends without closing anything, and don't keep it alive", () =>
      Effect.gen(function* () {
        const target = makeTarget()
        const child = yield* start(target, "leave", "r", "2")
        const code = yield* Effect.promise(
          () =>
            new Promise((resolve) => (child.exitCode === null ? child.once("exit", resolve) : resolve(child.exitCode)))
        )
        expect(code).toBe(0)
        expect(yield* using(layer(target), (journal) => journal.adoptOpen)).toBe(2)
      }).pipe(Effect.scoped))

    test("are not touched while their process is stopped", () =>
      Effect.gen(function* () {
        const target = makeTarget()
        const child = yield* start(target, "hold", "r", "1")
        child.kill("SIGSTOP")
        yield* using(layer(target), (journal) =>
          Effect.gen(function* () {
            expect(yield* journal.adoptOpen).toBe(0)
            child.kill("SIGCONT")
            expect(yield* journal.adoptOpen).toBe(0)
            expect(yield* pendingIds(journal)).toEqual([])
          })
        )
      }).pipe(Effect.scoped))

    test("are not touched while another layer of this process has them", () =>
      Effect.gen(function* () {
        const target = makeTarget()
        yield* using(layer(target), (first) =>
          Effect.gen(function* () {
            yield* first.putOpen(record("r1"))
            for (const _ of [1, 2]) {
              // Opening and closing the journal again must not drop the lock either.
              const found = yield* using(layer(target), (other) => Effect.andThen(other.adoptOpen, pendingIds(other)))
              expect(found).toEqual([])
            }
            const adopter = yield* start(target, "adopt")
            expect(yield* adoptInChild(adopter)).toBe(0)
          })
        )
      }).pipe(Effect.scoped))

    test("keep a handle alive beyond its layer until the last of them is removed", () =>
      Effect.gen(function* () {
        const target = makeTarget()
        const outlived = yield* using(layer(target), (journal) => Effect.succeed(journal))
        yield* outlived.putOpen(record("r1"))
        yield* outlived.putOpen(record("r2"))
        yield* using(layer(target), (journal) =>
          Effect.gen(function* () {
            expect(yield* journal.adoptOpen).toBe(0)
            expect(readdirSync(owners(target))).toHaveLength(1)
            yield* outlived.put(record("r1"))
            yield* outlived.removeOpen(record("r2").reservationId)
            yield* Effect.promise(() => vi.waitFor(() => expect(readdirSync(owners(target))).toEqual([])))
            expect(yield* journal.adoptOpen).toBe(0)
            expect(yield* pendingIds(journal)).toEqual(["r1"])
          })
        )
      }))

    test("are forgotten when the reservation is decided or removed, also if the process is killed afterwards", () =>
      Effect.gen(function* () {
        const target = makeTarget()
        yield* using(layer(target), (journal) =>
          Effect.gen(function* () {
            for (const id of ["r1", "r2", "r3"]) yield* journal.putOpen(record(id, { commitBody: '{"open":true}' }))
            yield* journal.put(record("r1"))
            yield* journal.bury({ record: record("r2"), reason: "TOO_OLD: old", diedAtMs: 7 })
            yield* journal.removeOpen(record("r3").reservationId)
          })
        )
        yield* using(layer(target), (journal) =>
          Effect.gen(function* () {
            expect(yield* journal.adoptOpen).toBe(0)
            expect(yield* Stream.runCollect(journal.pending)).toEqual([record("r1")])
          })
        )
      }))

    test("of a dead process merge with an identical pending record, and stay next to a different one", () =>
      Effect.gen(function* () {
        const target = makeTarget()
        const child = yield* start(target, "hold", "r", "2")
        yield* kill(child)
        yield* using(layer(target), (journal) =>
          Effect.gen(function* () {
            const further = record("r0", { mode: "event" })
            const other = record("r1", { commitBody: '{"other":1}', recordedAtMs: 1 })
            yield* journal.put(further)
            yield* journal.put(other)
            expect(yield* journal.adoptOpen).toBe(1)
            expect(yield* Stream.runCollect(journal.pending)).toEqual([other, further, record("r1")])
          })
        )
      }).pipe(Effect.scoped))

    test("stay open if the lock of their live handle is deleted and the handle writes again", () =>
      Effect.gen(function* () {
        const target = makeTarget()
        yield* using(layer(target), (first) =>
          Effect.gen(function* () {
            yield* first.putOpen(record("r1"))
            rmSync(owners(target), { recursive: true })
            yield* first.putOpen(record("r2"))
            expect(readdirSync(owners(target))).toHaveLength(1)
            expect(yield* using(layer(target), (other) => other.adoptOpen)).toBe(0)
            yield* first.put(record("r1"))
            yield* first.put(record("r2"))
            expect(yield* pendingIds(first)).toEqual(["r1", "r2"])
          })
        )
        expect(yield* using(layer(target), (journal) => journal.adoptOpen)).toBe(0)
      }))

    test("with a damaged lock file are adopted, since their owner can't hold that lock", () =>
      Effect.gen(function* () {
        const target = makeTarget()
        yield* kill(yield* start(target, "hold", "r", "1"))
        for (const lock of readdirSync(owners(target)))
          writeFileSync(join(owners(target), lock), "not a database at all")
        yield* using(layer(target), (journal) =>
          Effect.gen(function* () {
            expect(yield* journal.adoptOpen).toBe(1)
            expect(yield* pendingIds(journal)).toEqual(["r0"])
          })
        )
      }).pipe(Effect.scoped))

    test("can't be written without node:sqlite", () =>
      Effect.gen(function* () {
        const target = makeTarget()
        vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined)
        const error = yield* Effect.flip(using(layer(target), (journal) => journal.putOpen(record("r1"))))
        expect(error._tag).toBe("JournalError")
        expect(error.message).toContain("node:sqlite")
        vi.restoreAllMocks()
      }).pipe(Effect.ensuring(Effect.sync(() => vi.restoreAllMocks()))))
  })
