/**
 * Measures the CPU time of a process that imports the modules of a guard and ends, compared with one that imports the
 * modules of effect only. Each round starts new processes, without a compile cache.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { execFile } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Folder from "./internal/folder.ts"
import * as Rounds from "./internal/rounds.ts"
import * as Stripped from "./internal/stripped.ts"
import type { Extent, Section } from "./Report.ts"
import * as Report from "./Report.ts"

const effectModules = ["Effect", "Layer", "Redacted", "Schema", "Stream"].map((name) => `effect/${name}`)

const guardModules = [
  ...effectModules,
  "@effect-cycles/protocol/Amount",
  "effect-cycles/Cycles",
  "effect-cycles/CyclesTransport",
  "effect-cycles/SettlementJournal"
]

const candidates = [
  { name: "`Effect`, `Layer`, `Redacted`, `Schema`, `Stream`", modules: effectModules },
  { name: "and a guard, by module", modules: guardModules },
  { name: "and `NodeCycles`", modules: [...guardModules, "effect-cycles/node/NodeCycles"] },
  { name: "and the root of `effect-cycles`", modules: [...effectModules, "effect-cycles"] },
  { name: "the root of `effect`", modules: ["effect"] },
  { name: "nothing", modules: [] }
] as const

const Imported = Schema.fromJsonString(Schema.Struct({ cpuMs: Schema.Finite, elapsedMs: Schema.Finite }))

/** Runs the benchmark. */
export const run = ({ rounds }: Extent): Effect.Effect<ReadonlyArray<Section>> =>
  Effect.scoped(
    Effect.gen(function* () {
      const folder = yield* Folder.make
      yield* Effect.sync(() => Stripped.write(folder))
      const ready = candidates.map(({ modules, name }, i) => {
        const script = join(folder, `row-${i}.mjs`)
        writeFileSync(script, program(modules))
        return {
          name,
          measure: Effect.map(imported(script), ({ cpuMs, elapsedMs }) => ({
            value: cpuMs,
            latency: { p50Ms: elapsedMs, p99Ms: elapsedMs }
          }))
        }
      })
      for (const { measure } of ready) yield* measure
      const rows = Report.rows(yield* Rounds.run(ready, rounds))
      return [
        {
          benchmark: "imports",
          title: "A process that imports modules and ends",
          measure: "CPU ms",
          against: "more",
          rows
        }
      ]
    })
  )

const program = (modules: ReadonlyArray<string>): string =>
  [
    ...modules.map((name) => `import ${JSON.stringify(name)}`),
    "const { system, user } = process.cpuUsage()",
    "console.log(JSON.stringify({ cpuMs: (system + user) / 1_000, elapsedMs: performance.now() }))"
  ].join("\n")

const imported = (script: string): Effect.Effect<typeof Imported.Type> =>
  Effect.flatMap(
    Effect.callback<string>((resume) => {
      const env = { ...process.env, NODE_DISABLE_COMPILE_CACHE: "1" }
      execFile(process.execPath, [script], { env }, (error, stdout) =>
        resume(error === null ? Effect.succeed(stdout) : Effect.die(error))
      )
    }),
    (text) => Effect.orDie(Schema.decodeUnknownEffect(Imported)(text))
  )
