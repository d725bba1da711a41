/** Starts the installed program `cycles-server dev`, to test it. */
import { spawn } from "node:child_process"

/** A running program. */
export interface Dev {
  /** The text that it printed until it listened. */
  readonly printed: string
  /** Stops it with SIGTERM. Returns its exit code. */
  readonly stop: () => Promise<number | null>
  /** Kills it. */
  readonly kill: () => void
}

/** Starts the program, and waits until it has printed the configuration of a client. Throws if it ends before. */
export const startDev = async (program: string, args: ReadonlyArray<string>): Promise<Dev> => {
  const child = spawn(program, ["dev", ...args], { stdio: ["ignore", "pipe", "inherit"] })
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve))
  const printed = await new Promise<string>((resolve, reject) => {
    let text = ""
    child.stdout.on("data", (chunk: Buffer) => {
      text += String(chunk)
      if (/^CYCLES_TENANT=/m.test(text)) resolve(text)
    })
    void ended.then((code) => reject(new Error(`FAIL cycles-server dev ended with ${code}: ${text}`)))
  })
  return {
    printed,
    stop: () => {
      child.kill("SIGTERM")
      return ended
    },
    kill: () => void child.kill("SIGKILL")
  }
}
