/**
 * Measures the bundle of a small program: how much a guard adds to a program that already uses `Schema` and `Stream`.
 *
 * "Own code" is the minified code from the packages of this workspace.
 */
import { writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { gzipSync } from "node:zlib"

/** The version of the bundler, which is installed next to the tarballs and not in the workspace. */
export const esbuildVersion = "^0.28.0"

/** Bytes after gzip, slightly above the current sizes. Lower them when the sizes fall. */
const limits = { guard: 90_600, httpClient: 98_900, own: 43_500 }

const bare = `
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
class Denied extends Schema.TaggedError()("Denied", { code: Schema.String }) {}
class Reply extends Schema.Class("Reply")({
  text: Schema.String,
  total: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })),
  after: Schema.optional(Schema.DurationFromMillis),
  kind: Schema.Literals(["a", "b"]),
  tags: Schema.Array(Schema.String)
}) {}
const text = '{"text":"a","total":1,"kind":"a","tags":[]}'
Stream.make(text).pipe(
  Stream.mapEffect(Schema.decodeUnknownEffect(Schema.fromJsonString(Reply))),
  Stream.buffer({ capacity: 16 }),
  Stream.runForEach((reply) => reply.total > 1 ? Effect.fail(new Denied({ code: "x" })) : Effect.log(reply.text)),
  Effect.runPromise
)
`

const overFetch = "CyclesTransport.layerFetch"

const overHttpClient = "Layer.provide(CyclesTransport.layerHttpClient, FetchHttpClient.layer)"

const guardBy = (imports: string, transport = overFetch): string => `
${imports}
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
const client = Cycles.layer({ baseUrl: "https://cycles.example", apiKey: Redacted.make("key") }).pipe(
  Layer.provide([${transport}, SettlementJournal.layerNone])
)
Effect.succeed(1).pipe(
  Cycles.withCycles({
    action: { kind: "llm.completion", name: "openai:gpt-5" },
    estimate: Amount.tokens(1000),
    actual: (total) => Amount.tokens(total)
  }),
  Effect.provide(client),
  Effect.runPromise
)
`

const byModule = `
import * as Amount from "@effect-cycles/protocol/Amount"
import * as Cycles from "effect-cycles/Cycles"
import * as CyclesTransport from "effect-cycles/CyclesTransport"
import * as SettlementJournal from "effect-cycles/SettlementJournal"`

const programs = {
  bare,
  guard: guardBy(byModule),
  httpClient: guardBy(byModule, overHttpClient),
  root: guardBy(`import { Amount, Cycles, CyclesTransport, SettlementJournal } from "effect-cycles"`)
}

interface Bundler {
  readonly buildSync: (options: object) => { readonly outputFiles: ReadonlyArray<{ readonly text: string }> }
  readonly transformSync: (code: string, options: object) => { readonly code: string }
}

/**
 * Measures the programs in a folder where the tarballs and esbuild are installed. Reports the sizes and returns whether
 * they are within the limits.
 */
export const checkBundle = (project: string): boolean => {
  const { buildSync, transformSync }: Bundler = createRequire(join(project, "package.json"))("esbuild")
  const bundle = (name: string, code: string, minify: object): string => {
    const entry = join(project, `${name}.bundle.js`)
    writeFileSync(entry, code)
    const [file] = buildSync({
      entryPoints: [entry],
      bundle: true,
      format: "esm",
      platform: "browser",
      legalComments: "none",
      write: false,
      ...minify
    }).outputFiles
    if (file === undefined) throw new Error(`esbuild wrote nothing for ${name}`)
    return file.text
  }
  /** If the white space is kept, esbuild writes a comment with the path before each module. */
  const ownOf = (code: string): string =>
    transformSync(
      bundle("own", code, { minifyIdentifiers: true, minifySyntax: true })
        .split(/^\/\/ (?=\S+\.js$)/m)
        .filter((module) => /^\S*node_modules\/(@effect-cycles\/|effect-cycles\/)/.test(module))
        .map((module) => module.slice(module.indexOf("\n")))
        .join("\n"),
      { minifyWhitespace: true }
    ).code

  const size = (text: string): number => gzipSync(text, { level: 9 }).length
  const sizeOf = (name: keyof typeof programs): number => size(bundle(name, programs[name], { minify: true }))
  const [bareSize, guard, httpClient] = [sizeOf("bare"), sizeOf("guard"), sizeOf("httpClient")]
  const own = size(ownOf(programs.guard))
  if (own < 1_000) throw new Error("the bundles can't be measured")
  const kb = (bytes: number): string => `${(bytes / 1_000).toFixed(1)} kB`
  const isSmall = guard <= limits.guard && httpClient <= limits.httpClient && own <= limits.own
  console.log(
    `${isSmall ? "ok  " : "FAIL"} bundle, minified and gzipped: a guard over fetch ${kb(guard)} (at most ${kb(limits.guard)}), ` +
      `${(guard / bareSize).toFixed(2)} x a program with Schema and Stream (${kb(bareSize)}); ` +
      `own code ${kb(own)} (at most ${kb(limits.own)}); imported by the root ${kb(sizeOf("root"))}; ` +
      `over an HttpClient ${kb(httpClient)} (at most ${kb(limits.httpClient)})`
  )
  return isSmall
}
