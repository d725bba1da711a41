/** The assertions after a scenario. They apply to every combination of faults. */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type { DeadLetter } from "effect-cycles/SettlementJournal"
import type { Observation } from "./calls.ts"
import { workDied, workFailed } from "./calls.ts"
import type { Fault } from "./faults.ts"
import { timeoutMs } from "./process.ts"
import type { Scenario } from "./scenario.ts"
import { actual, estimate, lateTotal, perElement } from "./scenario.ts"

/** The limit for a write to the journal, in milliseconds. */
const journalMs = 2_000

/** The error of the virtual clock's steps, in milliseconds. */
const slackMs = 600

// ---------------------------------------------------------------------------------------------------------------------
// the outcome of one call
// ---------------------------------------------------------------------------------------------------------------------

/** Returns the violations in the result that the caller got, and in its timing. */
export const ofCaller = (
  scenario: Scenario,
  observation: Observation,
  met: ReadonlySet<Fault>,
  isRepeat: boolean
): ReadonlyArray<string> => {
  const { exit } = observation
  if (exit === undefined) return ["the caller never returned"]
  return [
    ...ofExit(scenario, observation, exit, met, isRepeat),
    ...ofTime(scenario, observation, met),
    ...ofSettled(observation)
  ]
}

const ofExit = (
  scenario: Scenario,
  observation: Observation,
  exit: Exit.Exit<unknown, unknown>,
  met: ReadonlySet<Fault>,
  isRepeat: boolean
): ReadonlyArray<string> => {
  const hasFault = (prefix: string): boolean => Array.from(met).some(({ site }) => site.startsWith(prefix))
  const callbacks = ["callback.actual", "callback.metrics", "callback.recordMetrics", "callback.usage", "callback.cost"]
  const mayDie = scenario.ending === "defect" || callbacks.some(hasFault)
  const got = describe(exit)
  if (got.startsWith("died") && !mayDie) return [`a defect that the caller's code didn't throw: ${got}`]
  const mayBeGivenUp = observation.wasInterrupted || scenario.ending === "timeout"
  if (observation.beganAtMs === undefined) {
    if (mayBeGivenUp && (got === "interrupted" || got === "failed: TimeoutError")) return []
    if (scenario.form === "event" && Exit.isSuccess(exit)) return []
    if (Exit.isSuccess(exit) || got.startsWith("died") || got === "interrupted") return [`the body didn't run: ${got}`]
    if (!hasFault("transport") && !(isRepeat && got === "failed: AlreadySettled"))
      return [`the body didn't run, although no fault prevents it: ${got}`]
    return []
  }
  const expected = expectedExits(scenario, observation)
  return expected.includes(got) || (mayDie && got.startsWith("died"))
    ? []
    : [`the outcome of the work was changed: expected ${expected.join(" or ")}, got ${got}`]
}

/** The exits that the caller may get after the body. */
const expectedExits = (scenario: Scenario, { wasInterrupted }: Observation): ReadonlyArray<string> => {
  switch (scenario.ending) {
    case "failure":
      return [`failed: ${workFailed}`]
    case "defect":
      return [`died: ${workDied.message}`]
    case "interrupt":
      return ["interrupted"]
    case "timeout":
      return ["failed: TimeoutError"]
    case "uninterruptible":
      return wasInterrupted ? ["interrupted", "succeeded"] : ["succeeded"]
    default:
      return ["succeeded"]
  }
}

const describe = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "succeeded"
  const { cause } = exit
  if (Cause.hasInterruptsOnly(cause)) return "interrupted"
  const error = Cause.squash(cause)
  const text =
    error instanceof Error && Cause.hasDies(cause)
      ? error.message
      : typeof error === "object" && error !== null && "_tag" in error
        ? String(error._tag)
        : String(error)
  return `${Cause.hasDies(cause) ? "died" : "failed"}: ${text}`
}

const ofTime = (scenario: Scenario, observation: Observation, met: ReadonlySet<Fault>): ReadonlyArray<string> => {
  const { beganAtMs, recordMs, returnedAtMs = 0, startedAtMs, workEndedAtMs } = observation
  const problems: Array<string> = []
  const check = (what: string, tookMs: number, limitMs: number): void => {
    if (tookMs > limitMs + slackMs) problems.push(`${what} took ${tookMs} ms, at most ${limitMs} ms are allowed`)
  }
  const isKeyed = scenario.hasKey && scenario.form !== "event"
  check(
    "the reserve",
    (beganAtMs ?? returnedAtMs) - startedAtMs,
    2 * timeoutMs + (scenario.onCrash === "expire" ? 0 : journalMs) + (isKeyed ? journalMs + timeoutMs : 0)
  )
  check("record", recordMs, journalMs)
  if (beganAtMs !== undefined && workEndedAtMs !== undefined) {
    const announced = Array.from(met).some(({ site }) => site === "callback.onSettled") ? timeoutMs : 0
    const limits = { attempt: journalMs + timeoutMs, background: journalMs, wait: 250_000 }
    check("the settlement", returnedAtMs - workEndedAtMs, limits[scenario.settle] + announced)
  }
  return problems
}

/** `onSettled` runs exactly once for each reservation that was granted. */
const ofSettled = ({ beganAtMs, settlements }: Observation): ReadonlyArray<string> => {
  const count = settlements.length
  return count > 1 || (count === 0 && beganAtMs !== undefined) ? [`onSettled ran ${count} times`] : []
}

// ---------------------------------------------------------------------------------------------------------------------
// the ledger
// ---------------------------------------------------------------------------------------------------------------------

/** The amounts that may be charged for one call. */
export const chargesOf = (
  scenario: Scenario,
  observation: Observation,
  isDead: boolean,
  met: ReadonlySet<Fault>
): ReadonlyArray<number> => {
  if (scenario.form === "event") return eventCharges(observation, isDead, met)
  const settled = settledCharges(scenario, observation)
  if (!isDead) return settled
  if (observation.returnedAtMs !== undefined) {
    return observation.lateDurable
      ? settled
      : [...settled, ...settledCharges(scenario, { ...observation, lateRecorded: false })]
  }
  const { beganAtMs, durable, recorded } = observation
  if (beganAtMs === undefined) return [0, ...(scenario.onCrash === "estimate" ? [estimate] : [])]
  const isFree = scenario.onFailure === "release" || scenario.ending === "release"
  // A chunk of a stream is passed on when its usage is durable: at most the last one is missing.
  const written = Math.max(durable, observation.streamed - 2 * perElement)
  const isUnwritten = Array.from(met).some(({ site }) => site === "journal.putOpen" || site === "journal.open")
  const atLeast = scenario.onCrash === "expire" || isFree || isUnwritten ? 0 : written
  const streamed = [1, 2, 3].map((count) => count * 2 * perElement).filter((total) => total <= observation.streamed)
  const known = [0, recorded, ...streamed, observation.committed ?? 0, actual, estimate, lateTotal, ...settled]
  return Array.from(new Set(known)).filter((charge) => charge >= atLeast)
}

const settledCharges = (scenario: Scenario, observation: Observation): ReadonlyArray<number> => {
  const { beganAtMs, committed, isReleasedByHand, isUnknown, lateRecorded, recorded, streamed, work } = observation
  const forNothing = scenario.onFailure === "estimate" ? estimate : 0
  if (beganAtMs === undefined) return forNothing === 0 ? [0] : [0, forNothing]
  if (isReleasedByHand) return [0]
  if (scenario.form === "stream") {
    if (isUnknown) return scenario.onFailure === "release" ? [0, estimate, streamed] : [estimate, streamed]
    if (isFailure(scenario)) return scenario.onFailure === "release" ? [0] : [streamed > 0 ? streamed : forNothing]
    return [streamed]
  }
  if (committed !== undefined) return [Math.max(committed, recorded, lateRecorded ? lateTotal : 0)]
  const isSuccess = work !== undefined && Exit.isSuccess(work)
  if (scenario.form === "byHand" && isSuccess && scenario.ending === "close") return [recorded]
  if (!isSuccess || scenario.form === "byHand") {
    if (scenario.onFailure === "release") return [0]
    return [recorded > 0 ? recorded : forNothing]
  }
  return [Math.max(isUnknown ? estimate : actual, recorded, lateRecorded ? lateTotal : 0)]
}

const isFailure = ({ ending }: Scenario): boolean =>
  ending === "failure" ||
  ending === "defect" ||
  ending === "interrupt" ||
  ending === "timeout" ||
  ending === "uninterruptible"

/**
 * The amounts that may be charged for an event. They are certain if it succeeded, or if the error proves that nothing happened.
 * An injected refusal proves nothing if an earlier attempt was processed, since a real server wouldn't refuse the repetition.
 */
const eventCharges = ({ exit }: Observation, isDead: boolean, met: ReadonlySet<Fault>): ReadonlyArray<number> => {
  if (exit === undefined || isDead) return [0, actual]
  if (Exit.isSuccess(exit)) return [actual]
  const error = Cause.squash(exit.cause)
  const isContradicted = Array.from(met).filter(({ site }) => site === "transport").length > 1
  const isCertain =
    !isContradicted &&
    typeof error === "object" &&
    error !== null &&
    (("mayHaveArrived" in error && error.mayHaveArrived === false) ||
      ("code" in error && error.code !== undefined && !("status" in error && Number(error.status) >= 500)))
  return isCertain ? [0] : [0, actual]
}

/** Every possible sum of the calls' charges. */
export const totals = (charges: ReadonlyArray<ReadonlyArray<number>>): ReadonlySet<number> =>
  charges.reduce<ReadonlySet<number>>(
    (sums, more) => new Set(Array.from(sums).flatMap((sum) => more.map((charge) => sum + charge))),
    new Set([0])
  )

/** The amount of a dead letter; 0 if it has none. */
export const amountOf = ({ record }: DeadLetter): number => {
  try {
    const body: unknown = JSON.parse(record.commitBody)
    return Number(Reflect.get(Object(Reflect.get(Object(body), "actual")), "amount"))
  } catch {
    return 0
  }
}
