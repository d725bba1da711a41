/**
 * What must hold after a story, whatever went wrong in it.
 */
import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import type { DeadLetter } from "effect-cycles/SettlementJournal"
import type { Truth } from "./acts.ts"
import { workDied, workFailed } from "./acts.ts"
import type { Fault } from "./faults.ts"
import { timeoutMs } from "./process.ts"
import type { Story } from "./story.ts"
import { actual, estimate, lateTotal, perElement } from "./story.ts"

/** How long a write to the journal may take, in milliseconds. */
const journalMs = 2_000

/** What the steps of the virtual clock add. */
const slackMs = 600

// ---------------------------------------------------------------------------------------------------------------------
// the outcome of one act
// ---------------------------------------------------------------------------------------------------------------------

/** What is wrong with what the caller got, and when. */
export const ofCaller = (
  story: Story,
  truth: Truth,
  met: ReadonlySet<Fault>,
  isRepeat: boolean
): ReadonlyArray<string> => {
  const { exit } = truth
  if (exit === undefined) return ["the caller never returned"]
  return [...ofExit(story, truth, exit, met, isRepeat), ...ofTime(story, truth, met), ...ofSettled(truth)]
}

const ofExit = (
  story: Story,
  truth: Truth,
  exit: Exit.Exit<unknown, unknown>,
  met: ReadonlySet<Fault>,
  isRepeat: boolean
): ReadonlyArray<string> => {
  const hasFault = (prefix: string): boolean => Array.from(met).some(({ site }) => site.startsWith(prefix))
  const own = ["callback.actual", "callback.metrics", "callback.recordMetrics", "callback.usage", "callback.cost"]
  const mayDie = story.ending === "defect" || own.some(hasFault)
  const got = describe(exit)
  if (got.startsWith("died") && !mayDie) return [`a defect that isn't the caller's own: ${got}`]
  const mayBeGivenUp = truth.wasInterrupted || story.ending === "timeout"
  if (truth.beganAtMs === undefined) {
    if (mayBeGivenUp && (got === "interrupted" || got === "failed: TimeoutError")) return []
    if (story.form === "event" && Exit.isSuccess(exit)) return []
    if (Exit.isSuccess(exit) || got.startsWith("died") || got === "interrupted") return [`without any work: ${got}`]
    if (!hasFault("transport") && !(isRepeat && got === "failed: AlreadySettled"))
      return [`no work, for no reason: ${got}`]
    return []
  }
  const expected = expectedExits(story, truth)
  return expected.includes(got) || (mayDie && got.startsWith("died"))
    ? []
    : [`the outcome of the work was changed: expected ${expected.join(" or ")}, got ${got}`]
}

/** The exits that the caller may see after the work. */
const expectedExits = (story: Story, { wasInterrupted }: Truth): ReadonlyArray<string> => {
  switch (story.ending) {
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

const ofTime = (story: Story, truth: Truth, met: ReadonlySet<Fault>): ReadonlyArray<string> => {
  const { beganAtMs, recordMs, returnedAtMs = 0, startedAtMs, workEndedAtMs } = truth
  const problems: Array<string> = []
  const check = (what: string, tookMs: number, limitMs: number): void => {
    if (tookMs > limitMs + slackMs) problems.push(`${what} took ${tookMs} ms, at most ${limitMs} ms are allowed`)
  }
  const isKeyed = story.hasKey && story.form !== "event"
  check(
    "the reserve",
    (beganAtMs ?? returnedAtMs) - startedAtMs,
    2 * timeoutMs + (story.onCrash === "expire" ? 0 : journalMs) + (isKeyed ? journalMs + timeoutMs : 0)
  )
  check("record", recordMs, journalMs)
  if (beganAtMs !== undefined && workEndedAtMs !== undefined) {
    const announced = Array.from(met).some(({ site }) => site === "callback.onSettled") ? timeoutMs : 0
    const limits = { attempt: journalMs + timeoutMs, background: journalMs, wait: 250_000 }
    check("the settlement", returnedAtMs - workEndedAtMs, limits[story.settle] + announced)
  }
  return problems
}

/** `onSettled` runs exactly once for each reservation that was granted. */
const ofSettled = ({ beganAtMs, settlements }: Truth): ReadonlyArray<string> => {
  const count = settlements.length
  return count > 1 || (count === 0 && beganAtMs !== undefined) ? [`onSettled ran ${count} times`] : []
}

// ---------------------------------------------------------------------------------------------------------------------
// the ledger
// ---------------------------------------------------------------------------------------------------------------------

/** The amounts that the budget may be charged for one act. */
export const chargesOf = (
  story: Story,
  truth: Truth,
  isDead: boolean,
  met: ReadonlySet<Fault>
): ReadonlyArray<number> => {
  if (story.form === "event") return eventCharges(truth, isDead, met)
  const settled = settledCharges(story, truth)
  if (!isDead) return settled
  if (truth.returnedAtMs !== undefined) {
    return truth.lateDurable ? settled : [...settled, ...settledCharges(story, { ...truth, lateRecorded: false })]
  }
  const { beganAtMs, durable, recorded } = truth
  if (beganAtMs === undefined) return [0, ...(story.onCrash === "estimate" ? [estimate] : [])]
  const isFree = story.onFailure === "release" || story.ending === "release"
  // A chunk of a stream is passed on when its usage is durable: at most the last one is missing.
  const written = Math.max(durable, truth.streamed - 2 * perElement)
  const isUnwritten = Array.from(met).some(({ site }) => site === "journal.putOpen" || site === "journal.open")
  const atLeast = story.onCrash === "expire" || isFree || isUnwritten ? 0 : written
  const streamed = [1, 2, 3].map((count) => count * 2 * perElement).filter((total) => total <= truth.streamed)
  const known = [0, recorded, ...streamed, truth.committed ?? 0, actual, estimate, lateTotal, ...settled]
  return Array.from(new Set(known)).filter((charge) => charge >= atLeast)
}

const settledCharges = (story: Story, truth: Truth): ReadonlyArray<number> => {
  const { beganAtMs, committed, isReleasedByHand, isUnknown, lateRecorded, recorded, streamed, work } = truth
  const forNothing = story.onFailure === "estimate" ? estimate : 0
  if (beganAtMs === undefined) return forNothing === 0 ? [0] : [0, forNothing]
  if (isReleasedByHand) return [0]
  if (story.form === "stream") {
    if (isUnknown) return story.onFailure === "release" ? [0, estimate, streamed] : [estimate, streamed]
    if (isFailure(story)) return story.onFailure === "release" ? [0] : [streamed > 0 ? streamed : forNothing]
    return [streamed]
  }
  if (committed !== undefined) return [Math.max(committed, recorded, lateRecorded ? lateTotal : 0)]
  const isSuccess = work !== undefined && Exit.isSuccess(work)
  if (story.form === "byHand" && isSuccess && story.ending === "close") return [recorded]
  if (!isSuccess || story.form === "byHand") {
    if (story.onFailure === "release") return [0]
    return [recorded > 0 ? recorded : forNothing]
  }
  return [Math.max(isUnknown ? estimate : actual, recorded, lateRecorded ? lateTotal : 0)]
}

const isFailure = ({ ending }: Story): boolean =>
  ending === "failure" ||
  ending === "defect" ||
  ending === "interrupt" ||
  ending === "timeout" ||
  ending === "uninterruptible"

/**
 * What was charged for an event: certain if it succeeded, or if the error proves that nothing happened. A refusal of the test
 * proves nothing if an earlier attempt was processed: a server would not have refused the repetition.
 */
const eventCharges = ({ exit }: Truth, isDead: boolean, met: ReadonlySet<Fault>): ReadonlyArray<number> => {
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

/** Every total that the acts of a story may add up to. */
export const totals = (charges: ReadonlyArray<ReadonlyArray<number>>): ReadonlySet<number> =>
  charges.reduce<ReadonlySet<number>>(
    (sums, more) => new Set(Array.from(sums).flatMap((sum) => more.map((charge) => sum + charge))),
    new Set([0])
  )

/** The amount of a dead letter; nothing if it holds none. */
export const amountOf = ({ record }: DeadLetter): number => {
  try {
    const body: unknown = JSON.parse(record.commitBody)
    return Number(Reflect.get(Object(Reflect.get(Object(body), "actual")), "amount"))
  } catch {
    return 0
  }
}
