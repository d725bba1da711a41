/**
 * Finds a free port to suggest when the requested one is in use.
 */
import * as Effect from "effect/Effect"
import * as Net from "node:net"

/** Returns the first free port after a port that is in use, other than a reserved one. Without one nearby, any free port. */
export const free = (host: string, taken: number, reserved: number | undefined): Effect.Effect<number> =>
  Effect.gen(function* () {
    for (let port = taken + 1; port <= Math.min(taken + maxTries, 65_535); port++) {
      if (port !== reserved && (yield* listen(host, port)) === port) return port
    }
    return yield* listen(host, 0)
  })

const maxTries = 50

/** Listens for a moment, and returns the port, or 0 if that fails. */
const listen = (host: string, port: number): Effect.Effect<number> =>
  Effect.callback<number>((resume) => {
    const probe = Net.createServer()
    probe.once("error", () => resume(Effect.succeed(0)))
    probe.listen(port, host, () => {
      const address = probe.address()
      probe.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
    })
  })
