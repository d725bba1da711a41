/**
 * Remembers for a short time that the server can't be reached, so that not every call waits for its whole timeout.
 *
 * Only calls that run without a response use it: those of guards with `onUnreachable: "allow"`, and those of a client
 * in shadow mode.
 */

/** How long the server isn't asked after a slow failure, in milliseconds. */
const pauseMs = 10_000

/** After a faster failure the next call asks again, so that the client resumes as soon as the server is back. */
const slowMs = 1_000

/** Whether the server could be reached recently, by the monotonic clock. */
export class Reachability {
  #pausedUntilMs = 0

  /**
   * Whether to ask the server now. After a pause one call asks; the others don't, until it has a result or `limitMs`
   * have passed.
   */
  shouldAsk(nowMs: number, limitMs: number): boolean {
    if (this.#pausedUntilMs === 0) return true
    if (nowMs < this.#pausedUntilMs) return false
    this.#pausedUntilMs = nowMs + limitMs
    return true
  }

  /** The server has responded, or the call that asked was interrupted. */
  responded(): void {
    this.#pausedUntilMs = 0
  }

  /** The server can't be reached. */
  failed(startedAtMs: number, nowMs: number): void {
    this.#pausedUntilMs = nowMs - startedAtMs >= slowMs ? nowMs + pauseMs : 0
  }
}
