/**
 * Compares two servers: the same random requests to both planes of both, well-formed and damaged, with the responses
 * and the final budgets compared. A difference shrinks to a short list of requests.
 */
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Difference, Ids, Received } from "./internal/differential/compare.ts"
import { compare, makeIds } from "./internal/differential/compare.ts"
import type { Known as KnownDifference } from "./internal/differential/known.ts"
import { always, reference } from "./internal/differential/known.ts"
import { valueOf } from "./internal/fuzz/json.ts"
import type { Known } from "./internal/traffic/render.ts"
import { learn, makeKnown, preamble, render } from "./internal/traffic/render.ts"
import type { Rendered } from "./internal/traffic/step.ts"
import { plainStep, Step } from "./internal/traffic/step.ts"

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** A server by its URLs. */
export interface Target {
  readonly url: string
  readonly adminUrl: string
  readonly adminKey: string
}

/** The options of a comparison. */
export interface Options {
  readonly a: Target
  readonly b: Target
  /** The same seed generates the same requests. */
  readonly seed: number
  /** The number of requests to each server, at least. */
  readonly requests: number
  /** Whether one of the servers is the reference server, whose known differences aren't reported. Default: false. */
  readonly isReference?: boolean | undefined
}

/** The result of a comparison. */
export interface Report {
  /** The number of requests to each server, without those of shrinking. */
  readonly requests: number
  /** The shortest list of requests that leads to a difference, and the difference; undefined if there is none. */
  readonly failure: string | undefined
  /** How often each known difference was seen, by its reason. */
  readonly known: ReadonlyMap<string, number>
}

// ---------------------------------------------------------------------------------------------------------------------
// run
// ---------------------------------------------------------------------------------------------------------------------

/** Compares two servers. */
export const run = (options: Options): Effect.Effect<Report> =>
  Effect.gen(function* () {
    const known = new Map<string, number>()
    const accepted = options.isReference === true ? [...always, ...reference] : always
    // Servers keep the tenants of earlier runs.
    const prefix = Date.now().toString(36)
    let runs = 0
    let requests = 0
    const differencesOf = (steps: ReadonlyArray<Step>) =>
      Effect.promise((signal) => {
        requests += steps.length + preamble.length
        return play(options, steps, `${prefix}-${(runs += 1)}`, accepted, known, signal)
      })
    for (let batch = 0; requests < options.requests; batch++) {
      const result = yield* Arbitrary.checkEffect(
        cases,
        (steps) => Effect.map(differencesOf(steps), (differences) => differences.length === 0),
        { runs: 25, seed: `${options.seed}-${batch}`, maxShrinks: 300 }
      )
      if (result._tag !== "Falsified") continue
      const before = requests
      const differences = yield* differencesOf(result.shrunkInput)
      const lines = result.shrunkInput.map((step) => JSON.stringify(step))
      const failure = [...differences, `seed ${options.seed}, after:`, ...lines].join("\n  ")
      return { requests: before, failure, known }
    }
    return { requests, failure: undefined, known }
  })

const cases = Arbitrary.schema(Schema.Array(Step).check(Schema.isMinLength(1), Schema.isMaxLength(30)))

/** Sends the requests to both servers in turn. Stops at the first difference. */
const play = async (
  { a, b }: Options,
  steps: ReadonlyArray<Step>,
  run: string,
  accepted: ReadonlyArray<KnownDifference>,
  seen: Map<string, number>,
  signal: AbortSignal
): Promise<ReadonlyArray<string>> => {
  const ids = makeIds()
  const knownA = makeKnown(a.adminKey, run)
  const knownB = makeKnown(b.adminKey, run)
  for (const step of [...preamble, ...steps, ...finalSteps]) {
    const [requestA, requestB] = [render(step, knownA), render(step, knownB)]
    const [responseA, responseB] = await Promise.all([send(a, requestA, signal), send(b, requestB, signal)])
    const differences = unknownOf(compare(responseA, responseB, ids), step, accepted, seen)
    if (differences.length > 0) {
      return differences.map((one) => `${requestA.method} ${requestA.path}: ${describe(one)}`)
    }
    learn(knownA, step, responseA.status, responseA.body)
    learn(knownB, step, responseB.status, responseB.body)
  }
  return finalDifferences(a, b, knownA, ids, accepted, seen, signal)
}

const unknownOf = (
  differences: ReadonlyArray<Difference>,
  step: Step,
  accepted: ReadonlyArray<KnownDifference>,
  seen: Map<string, number>
): ReadonlyArray<Difference> =>
  differences.filter((difference) => {
    const known = accepted.find(({ matches }) => matches(difference, step))
    if (known !== undefined) seen.set(known.reason, (seen.get(known.reason) ?? 0) + 1)
    return known === undefined
  })

const describe = ({ a, b, path }: Difference): string => `${path} is ${show(a)} and ${show(b)}`

const show = (value: unknown): string => (JSON.stringify(value) ?? "absent").slice(0, 300)

const send = async (target: Target, request: Rendered, signal: AbortSignal): Promise<Received> => {
  const response = await fetch((request.plane === "admin" ? target.adminUrl : target.url) + request.path, {
    method: request.method,
    headers: request.headers,
    signal,
    redirect: "manual",
    ...(request.body === undefined ? undefined : { body: new Uint8Array(request.body) })
  })
  const text = await response.text()
  return { status: response.status, contentType: response.headers.get("content-type") ?? "", body: valueOf(text) }
}

// ---------------------------------------------------------------------------------------------------------------------
// the final state
// ---------------------------------------------------------------------------------------------------------------------

/** The lists of the admin plane. Variant 2 is a page of 50 rows, of the first tenant. */
const finalSteps: ReadonlyArray<Step> = [
  plainStep("listBudgets", { variant: 2 }),
  plainStep("listPolicies", { variant: 2 }),
  plainStep("listKeys", { variant: 2 }),
  plainStep("getTenant", { variant: 2 }),
  plainStep("listBudgets", { variant: 20 })
]

/** Compares every reservation. The admin key reads those of any tenant. */
const finalDifferences = async (
  a: Target,
  b: Target,
  known: Known,
  ids: Ids,
  accepted: ReadonlyArray<KnownDifference>,
  seen: Map<string, number>,
  signal: AbortSignal
): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  for (const reservation of known.reservations) {
    const request = (target: Target, id: string): Rendered => ({
      method: "GET",
      plane: "runtime",
      path: `/v1/reservations/${encodeURIComponent(id)}`,
      headers: { "x-admin-api-key": target.adminKey },
      body: undefined
    })
    const [responseA, responseB] = await Promise.all([
      send(a, request(a, reservation), signal),
      send(b, request(b, ids.toB.get(reservation) ?? "unknown"), signal)
    ])
    const step = plainStep("getReservation")
    const differences = unknownOf(compare(responseA, responseB, ids), step, accepted, seen)
    found.push(...differences.map((one) => `the final reservation ${reservation}: ${describe(one)}`))
  }
  return found
}
