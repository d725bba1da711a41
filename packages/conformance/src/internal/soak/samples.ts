/** Samples of the resources that a process uses, and the criteria for their growth. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { readdirSync, statSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { criticalZ, minBlocks, trendOf } from "./trend.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** The resources that the process uses at one time. */
export interface Sample {
  /** Since the start, in milliseconds. */
  readonly atMs: number
  /** Calls so far. */
  readonly calls: number
  /** The used heap after a full garbage collection, in bytes. */
  readonly heapBytes: number
  /** The resident set, in bytes. */
  readonly rssBytes: number
  /** Active handles and requests of Node: sockets, servers and timers. */
  readonly handles: number
  /** Sockets among the handles. */
  readonly sockets: number
  /** Timers among the handles. */
  readonly timers: number
  /** Open file descriptors. 0 if the system has no `/proc`. */
  readonly files: number
  /** The size of the journal with its log, in bytes. */
  readonly journalBytes: number
  /** Records in the journal, of any kind. */
  readonly journalRecords: number
  /** The size of the server's data file with its log, in bytes. It grows by the reservations and stored responses. */
  readonly databaseBytes: number
  /** Reservations that the server stores. */
  readonly reservations: number
}

/** Takes samples. */
export interface Sampler {
  readonly sample: (calls: number) => Sample
}

/** The files that are sampled. */
export interface Paths {
  readonly journal: string
  readonly database: string
}

// ---------------------------------------------------------------------------------------------------------------------
// sampling
// ---------------------------------------------------------------------------------------------------------------------

/** Makes a sampler. It keeps one connection to the journal, which must exist. */
export const makeSampler = (
  { database, journal }: Paths,
  reservations: () => number
): Effect.Effect<Sampler, never, Scope.Scope> =>
  Effect.gen(function* () {
    setFlagsFromString("--expose-gc")
    const collect: unknown = runInNewContext("gc")
    if (typeof collect !== "function") throw new Error("the garbage collector isn't available")
    const connection = yield* Effect.acquireRelease(
      Effect.sync(() => new DatabaseSync(journal, { readOnly: true })),
      (open) => Effect.sync(() => open.close())
    )
    const records = connection.prepare(
      ["records", "open_records", "dead_letters", "quarantine"]
        .map((table) => `SELECT count(*) AS n FROM ${table}`)
        .join(" UNION ALL ")
    )
    const startedAt = performance.now()
    return {
      sample: (calls) => {
        collect()
        const { heapUsed, rss } = process.memoryUsage()
        const resources = process.getActiveResourcesInfo()
        return {
          atMs: Math.round(performance.now() - startedAt),
          calls,
          heapBytes: heapUsed,
          rssBytes: rss,
          handles: resources.length,
          sockets: resources.filter((name) => name.startsWith("TCP")).length,
          timers: resources.filter((name) => name === "Timeout" || name === "Immediate").length,
          files: openFiles(),
          journalBytes: sizeOf(journal),
          journalRecords: records.all().reduce((sum, row) => sum + Number(row["n"]), 0),
          databaseBytes: sizeOf(database),
          reservations: reservations()
        }
      }
    }
  })

const openFiles = (): number => {
  try {
    return readdirSync("/proc/self/fd").length
  } catch {
    return 0
  }
}

const sizeOf = (path: string): number =>
  ["", "-wal", "-shm"].reduce(
    (sum, suffix) => sum + (statSync(`${path}${suffix}`, { throwIfNoEntry: false })?.size ?? 0),
    0
  )

// ---------------------------------------------------------------------------------------------------------------------
// criteria
// ---------------------------------------------------------------------------------------------------------------------

const mebibyte = 1_048_576

/**
 * The server has its latest 8,192 to 16,384 reservations in memory. A second half with fewer than three times 8,192 new
 * ones can end with more of them than it began.
 */
const cachedReservations = 8_192

/** The heap of one reservation in the server's memory, in bytes. */
const bytesPerReservation = 1_536

/** The growth that isn't a leak, if it is significant: what a warm-up or a file of a fixed size can add. */
const tolerances = (half: ReadonlyArray<Sample>) => {
  const added = (half.at(-1)?.reservations ?? 0) - (half[0]?.reservations ?? 0)
  const cached = added < 3 * cachedReservations ? Math.min(added, cachedReservations) : 0
  return {
    heapBytes: 4 * mebibyte + cached * bytesPerReservation,
    handles: 32,
    files: 32,
    // The log of a SQLite file has 1,000 pages before it is reused.
    journalBytes: 5 * mebibyte,
    journalRecords: 16
  }
}

/** The trend of one quantity over the second half. */
export interface Flatness {
  readonly name: "heapBytes" | "handles" | "files" | "journalBytes" | "journalRecords"
  readonly z: number
  readonly growth: number
  readonly tolerance: number
  readonly isFlat: boolean
}

/** The second half of the samples. */
const secondHalf = (samples: ReadonlyArray<Sample>): ReadonlyArray<Sample> =>
  samples.slice(Math.floor(samples.length / 2))

/** The trends over the second half. Empty if there are too few samples. */
export const flatness = (samples: ReadonlyArray<Sample>): ReadonlyArray<Flatness> => {
  const half = secondHalf(samples)
  if (half.length < minBlocks) return []
  const allowed = tolerances(half)
  const names = ["heapBytes", "handles", "files", "journalBytes", "journalRecords"] as const
  return names.map((name) => {
    const { growth, z } = trendOf(half.map((sample) => sample[name]))
    const tolerance = allowed[name]
    return { name, z, growth, tolerance, isFlat: !(z > criticalZ && growth > tolerance) }
  })
}
