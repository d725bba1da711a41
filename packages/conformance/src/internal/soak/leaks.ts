/** Leaks and wrong books, injected to show that a soak finds them. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { closeSync, openSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import type { Books, Leak } from "./books.ts"
import { spend } from "./books.ts"

/** Returns a function that leaks with each sample. Everything is freed with the scope. */
export const make = (
  leaks: ReadonlyArray<Leak>,
  books: Books,
  journal: string
): Effect.Effect<() => void, never, Scope.Scope> =>
  Effect.gen(function* () {
    if (leaks.length === 0) return () => undefined
    const kept: Array<unknown> = []
    const timers: Array<ReturnType<typeof setTimeout>> = []
    const files: Array<number> = []
    const connection = yield* Effect.acquireRelease(
      Effect.sync(() => new DatabaseSync(journal, { timeout: 5_000 })),
      (open) => Effect.sync(() => open.close())
    )
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        timers.forEach(clearTimeout)
        files.forEach((file) => closeSync(file))
      })
    )
    const leakOf: Record<Leak, () => unknown> = {
      heap: () => kept.push(Array.from({ length: 262_144 }, (_, i) => i + 0.5)),
      handles: () => timers.push(...times(64, () => setTimeout(() => undefined, 3_600_000))),
      files: () => files.push(...times(16, () => openSync("/dev/null", "r"))),
      journal: () =>
        times(8, () => connection.exec("INSERT INTO quarantine (content, found_at_ms) VALUES ('leak', 0)")),
      books: () => spend(books, "guard", 1)
    }
    return () => leaks.forEach((leak) => leakOf[leak]())
  })

const times = <A>(count: number, make: () => A): ReadonlyArray<A> => Array.from({ length: count }, make)
