/**
 * The disk of a machine with one journal. Writes take time and are durable when they return. Removals become durable
 * later. A loss of power undoes the removals that aren't durable yet; a process that is killed during a write may or
 * may not have made it.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type { DeadLetter, Journal, JournalRecord } from "effect-cycles/SettlementJournal"
import { JournalError, SettlementJournal, TypeId } from "effect-cycles/SettlementJournal"
import type { Chaos } from "./chaos.ts"
import type { Process, World } from "./world.ts"

/** The faults of one operation. */
export const faults = [
  "it fails",
  "it fails",
  "it fails after writing",
  "it throws",
  "it dies",
  "it hangs",
  "it hangs after writing",
  "it is slow"
] as const

/** The faults of reading. */
const readFaults = ["it fails", "it hangs", "it fails midway", "it emits records twice"] as const

/** The records of a reservation that the journal has reported as written. */
export interface Promised {
  /** The decided records, by the text of the commit. Adopted open records are decided. */
  readonly decided: Map<string, JournalRecord>
  /** Whether a write for the reservation has met a fault. */
  isDisturbed: boolean
}

/** The disk. */
export class Disk {
  readonly records = new Map<string, JournalRecord>()
  readonly letters = new Map<string, DeadLetter>()
  /** Open records by process. */
  readonly open = new Map<Process, Map<string, JournalRecord>>()
  readonly promised = new Map<string, Promised>()
  /** The processes that may not have been able to open their journal. */
  readonly unopened = new Set<Process>()
  /** The keys of the settlements whose records were written. */
  readonly writtenKeys = new Set<string>()
  /** Whether a write has met a fault or was slow. */
  isDisturbed = false
  /** The number of outages of the disk in progress: writes fail. */
  full = 0
  /** When an operation without a reservation has failed last, such as the adoption of open records. */
  #failedAtMs = Number.NEGATIVE_INFINITY
  readonly name: string
  readonly isBounded: boolean
  readonly #world: World
  readonly #chaos: Chaos
  readonly #rate: number
  readonly #counts = new Map<string, number>()
  /** When the last write of a process will be made. */
  readonly #lastAtMs = new WeakMap<Process, number>()
  /** Undoes the removals that aren't durable. */
  #undo: Array<() => void> = []

  constructor(world: World, chaos: Chaos, name: string, rate: number) {
    this.#world = world
    this.#chaos = chaos
    this.name = name
    this.#rate = rate
    this.isBounded = rate === 0
  }

  /**
   * Whether the journal showed at a time, in milliseconds of the world, that a process which had died before has left a
   * record of the reservation. A failed operation may have hidden it since then.
   */
  isLeft(id: string, atMs: number): boolean {
    if (this.#failedAtMs >= atMs || this.promised.get(id)?.isDisturbed === true) return false
    return Array.from(this.open).some(
      ([owner, records]) => owner.isDead && owner.diedAtMs / owner.rate < atMs && records.has(id)
    )
  }

  /** The machine loses its power. */
  losePower(): void {
    for (const undo of this.#undo.splice(0).toReversed()) undo()
  }

  /** The written records of a reservation. */
  promiseOf(id: string): Promised {
    const known = this.promised.get(id)
    if (known !== undefined) return known
    const made: Promised = { decided: new Map(), isDisturbed: false }
    this.promised.set(id, made)
    return made
  }

  /** The journal of a process. */
  layer(process: Process): Layer.Layer<SettlementJournal> {
    return Layer.sync(SettlementJournal, () =>
      SettlementJournal.of({
        [TypeId]: TypeId,
        isDurable: true,
        isBounded: this.isBounded,
        open: () =>
          this.#meet(process, "open", "", () => {
            if (!this.open.has(process)) this.open.set(process, new Map())
            return this.#journal(process)
          })
      })
    )
  }

  #journal(process: Process): Journal {
    const openOf = (): Map<string, JournalRecord> => this.open.get(process) ?? new Map<string, JournalRecord>()
    return {
      put: (record) =>
        this.#meet(process, "put", record.reservationId, () => {
          this.records.set(identityOf(record), record)
          openOf().delete(record.reservationId)
          const promise = this.promiseOf(record.reservationId)
          promise.decided.set(record.commitBody, record)
          this.writtenKeys.add(keyOf(record))
        }),
      remove: (record) =>
        this.#meet(process, "remove", record.reservationId, () => {
          const before = this.records.get(identityOf(record))
          this.records.delete(identityOf(record))
          if (before !== undefined) this.#undoable(() => this.records.set(identityOf(before), before))
        }),
      bury: (letter) =>
        this.#meet(process, "bury", letter.record.reservationId, () => {
          this.records.delete(identityOf(letter.record))
          openOf().delete(letter.record.reservationId)
          this.letters.set(identityOf(letter.record), letter)
        }),
      pending: Stream.unwrap(Effect.suspend(() => this.#pending(process))),
      deadLetters: Stream.suspend(() => Stream.fromIterable(Array.from(this.letters.values()))),
      forget: (letter) => Effect.sync(() => void this.letters.delete(identityOf(letter.record))),
      isDecided: (id) =>
        this.#meet(process, "read", id, () => {
          const isOfId = (record: JournalRecord): boolean => record.reservationId === id
          return (
            Array.from(this.records.values()).some(isOfId) ||
            Array.from(this.letters.values()).some(({ record }) => isOfId(record))
          )
        }),
      putOpen: (record) =>
        this.#meet(process, "putOpen", record.reservationId, () => {
          openOf().set(record.reservationId, record)
        }),
      removeOpen: (id) =>
        this.#meet(process, "removeOpen", id, () => {
          const records = openOf()
          const before = records.get(id)
          records.delete(id)
          if (before !== undefined) this.#undoable(() => records.set(id, before))
        }),
      adoptOpen: Effect.suspend(() => this.#meet(process, "adoptOpen", "", () => this.#adopt()))
    }
  }

  #adopt(): number {
    let count = 0
    for (const [owner, records] of this.open) {
      if (!owner.isDead) continue
      for (const record of records.values()) {
        this.records.set(identityOf(record), record)
        this.promiseOf(record.reservationId).decided.set(record.commitBody, record)
        this.writtenKeys.add(keyOf(record))
        count += 1
      }
      this.open.delete(owner)
    }
    return count
  }

  #disturb(id: string): void {
    this.promiseOf(id).isDisturbed = true
    this.isDisturbed = true
  }

  #undoable(undo: () => void): void {
    this.#undo.push(undo)
    this.#world.at(syncMs, () => void (this.#undo = this.#undo.filter((other) => other !== undo)))
  }

  #next(process: Process, operation: string, id: string): string {
    const site = `disk ${this.name} ${operation} ${id}`
    const count = (this.#counts.get(site) ?? 0) + 1
    this.#counts.set(site, count)
    const identity = `${site} #${count}`
    this.#world.trace.add(this.#world.nowMs, process.name, `${operation} ${id}`)
    return identity
  }

  /** Runs an operation, with its fault if it meets one. */
  #meet<A>(
    process: Process,
    operation: JournalError["operation"],
    id: string,
    run: () => A
  ): Effect.Effect<A, JournalError> {
    if (process.isDead) return Effect.never
    const identity = this.#next(process, operation, id)
    const fault = this.full > 0 ? "it fails" : this.#chaos.pick(identity, this.#rate, faults)
    const takesMs = this.#chaos.between(identity, 0.1, 5)
    const failure = Effect.fail(new JournalError({ operation, problem: "injected" }))
    if (fault !== undefined) {
      if (operation === "open") this.unopened.add(process)
      if (id === "") this.#failedAtMs = this.#world.nowMs
      if (id !== "") this.#disturb(id)
      this.#world.trace.add(this.#world.nowMs, process.name, `${operation} ${id}: ${fault}`)
    }
    // The operating system completes a write, or loses it, even if the process is killed meanwhile.
    const write = (afterMs: number): Effect.Effect<A> =>
      Effect.callback((resume) => {
        const onKill = (): void => {
          if (this.#chaos.between(`${identity} killed`, 0, 1) < 0.5) run()
        }
        process.onKill.add(onKill)
        // A journal writes in the order of the calls.
        const atMs = Math.max(this.#world.nowMs + afterMs, this.#lastAtMs.get(process) ?? 0)
        this.#lastAtMs.set(process, atMs)
        if (id !== "" && atMs - this.#world.nowMs > slowMs) this.#disturb(id)
        this.#world.at(
          atMs - this.#world.nowMs,
          () => {
            process.onKill.delete(onKill)
            resume(Effect.succeed(run()))
          },
          process
        )
      })
    switch (fault) {
      case undefined:
        return write(takesMs)
      case "it fails":
        return failure
      case "it fails after writing":
        return Effect.andThen(write(takesMs), failure)
      case "it throws":
        throw new Error("injected: the journal throws")
      case "it dies":
        return Effect.die(new Error("injected: the journal dies"))
      case "it hangs":
        return Effect.never
      case "it hangs after writing":
        return Effect.andThen(write(takesMs), Effect.never)
      case "it is slow":
        return write(takesMs + 3_000)
    }
  }

  #pending(process: Process): Effect.Effect<Stream.Stream<JournalRecord, JournalError>> {
    const failure = Stream.fail(new JournalError({ operation: "read", problem: "injected" }))
    const records = Stream.suspend(() =>
      Stream.fromIterable(Array.from(this.records.values()).toSorted((a, b) => a.recordedAtMs - b.recordedAtMs))
    )
    if (process.isDead) return Effect.succeed(Stream.never)
    const identity = this.#next(process, "pending", "")
    const fault = this.#chaos.pick(identity, this.#rate, readFaults)
    switch (fault) {
      case undefined:
        return Effect.as(Effect.sleep(2), records)
      case "it fails":
        return Effect.succeed(failure)
      case "it hangs":
        return Effect.succeed(Stream.never)
      case "it fails midway":
        return Effect.succeed(Stream.concat(Stream.take(records, 1), failure))
      case "it emits records twice":
        return Effect.succeed(Stream.concat(records, records))
    }
  }
}

/** A write that waits longer for earlier ones, in milliseconds, may not be made before its process is killed. */
const slowMs = 150

/** When a removal is durable, in milliseconds. */
const syncMs = 1_000

/** Two records of one reservation with different commits are different spend. */
const identityOf = ({ commitBody, reservationId }: JournalRecord): string => `${reservationId}\n${commitBody}`

/** The key of the settlement of a record. */
export const keyOf = ({ commitBody }: JournalRecord): string => keyIn(commitBody)

/** The key of the event that charges a record if its reservation can't be committed. */
export const eventKeyOf = ({ eventBody = "" }: JournalRecord): string => keyIn(eventBody)

const keyIn = (body: string): string => /"idempotency_key":"([^"]*)"/.exec(body)?.[1] ?? ""

/** The amount of a record. */
export const amountOf = ({ commitBody }: JournalRecord): number =>
  Number(/"actual":\{[^}]*"amount":(\d+)/.exec(commitBody)?.[1] ?? 0)
