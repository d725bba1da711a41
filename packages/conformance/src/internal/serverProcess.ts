/** Starts the embedded server in a separate process, as `pnpm serve` does. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { join } from "node:path"

const bin = join(import.meta.dirname, "../../../server/src/bin.ts")

/** A listening process. */
export interface Served {
  readonly url: string
  /** Kills it with SIGKILL and waits for its end. */
  readonly kill: Effect.Effect<void>
}

/** Starts a server on a free port with the administrator's key `K`. It is killed when the scope closes. */
export const serve = (...args: ReadonlyArray<string>): Effect.Effect<Served, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Served>((resume) => {
      const child = spawn(process.execPath, [bin, "serve", "--port", "0", "--admin-key", "K", ...args])
      const gone = new Promise<void>((resolve) => child.once("close", () => resolve()))
      const kill = Effect.promise(async () => {
        child.kill("SIGKILL")
        await gone
      })
      let printed = ""
      const read = (chunk: Buffer): void => {
        printed += String(chunk)
        const url = /listening on (\S+) /.exec(printed)?.[1]
        if (url !== undefined) resume(Effect.succeed({ url, kill }))
      }
      child.stdout.on("data", read)
      child.stderr.on("data", read)
      void gone.then(() => resume(Effect.die(new Error(`the server has ended: ${printed}`))))
    }),
    ({ kill }) => kill
  )
