/**
 * Runs bundled workers on workerd, each in a separate worker, and prints their responses:
 * `node workerd.ts FOLDER_OF_MINIFLARE BUNDLE...`. A bundle whose name begins with `node-` gets the Node compatibility of
 * workerd; the others have only web APIs. All of them can connect to an embedded server on a port of this process.
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { basename, join } from "node:path"
import { serve } from "./serve.ts"

/** A running worker. */
interface Worker {
  readonly dispatchFetch: (url: string) => Promise<Response>
  readonly dispose: () => Promise<void>
}

/** The part of Miniflare that this program uses. */
interface Module {
  readonly Miniflare: new (options: {
    readonly modules: ReadonlyArray<{ readonly type: "ESModule"; readonly path: string; readonly contents: string }>
    readonly compatibilityDate: string
    readonly compatibilityFlags: ReadonlyArray<string>
    readonly bindings: { readonly BASE_URL: string; readonly API_KEY: string }
  }) => Worker
}

const [folder = "", ...bundles] = process.argv.slice(2)

const { Miniflare }: Module = createRequire(join(folder, "package.json"))("miniflare")

const run = (path: string, bindings: { readonly BASE_URL: string; readonly API_KEY: string }) =>
  Effect.acquireUseRelease(
    Effect.sync(
      () =>
        new Miniflare({
          modules: [{ type: "ESModule", path: basename(path), contents: readFileSync(path, "utf8") }],
          compatibilityDate: "2026-01-01",
          compatibilityFlags: basename(path).startsWith("node-") ? ["nodejs_compat"] : [],
          bindings
        })
    ),
    (worker) =>
      Effect.promise(async () => {
        const response = await worker.dispatchFetch("http://worker.local/")
        const text = await response.text()
        if (!response.ok) throw new Error(`${basename(path)}: ${response.status} ${text}`)
        console.log(text)
      }),
    (worker) => Effect.promise(() => worker.dispose())
  )

const program = Effect.gen(function* () {
  const { apiKey, baseUrl } = yield* serve
  for (const path of bundles) yield* run(path, { BASE_URL: baseUrl, API_KEY: Redacted.value(apiKey) })
})

Effect.runPromise(Effect.scoped(program)).catch((error: unknown) => {
  console.error(error)
  process.exitCode = 1
})
