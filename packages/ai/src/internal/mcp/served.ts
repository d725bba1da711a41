/**
 * A guarded toolkit for an MCP server. It differs from a guarded toolkit for a model in three ways:
 *
 * - the server requests approvals, because no `LanguageModel` does
 * - a budget that can't be checked is a result, because the server replaces unexpected errors by a text without a
 *   reason
 * - the subject may depend on the request
 */
import * as AiError from "effect/ai/AiError"
import * as Tool from "effect/ai/Tool"
import * as Toolkit from "effect/ai/Toolkit"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type * as SchemaAST from "effect/SchemaAST"
import * as Stream from "effect/Stream"
import * as Subject from "effect-cycles/Subject"
import type { BudgetError } from "../../CyclesAiError.ts"
import { causeOf } from "../../CyclesAiError.ts"
import { assumeToolkit } from "../assume.ts"
import * as Denial from "../denial.ts"
import { decode } from "../toolParameters.ts"
import * as Approval from "./approval.ts"
import * as Request from "./request.ts"

/** The subject of a served call: fixed, or a function of its request. */
export type SubjectOf = Subject.Subject | ((request: Request.Request) => Subject.Subject | undefined) | undefined

/** Makes a toolkit of guarded tools. Its handlers are those of the guarded toolkit. */
export const make = <Tools extends Record<string, Tool.Any>>(
  toolkit: Toolkit.Toolkit<Tools>,
  guarded: Effect.Effect<Toolkit.WithHandler<Tools>, never, Tool.HandlersFor<Tools>>,
  subject: SubjectOf
): Toolkit.Toolkit<Tools> => {
  const evaluate = () => Effect.map(guarded, (inner) => serve(inner, subject))
  const served: unknown = Object.assign(
    Toolkit.make(...Object.values(toolkit.tools)),
    Effectable.Prototype<Effect.Effect<Toolkit.WithHandler<Tools>, never, Tool.HandlersFor<Tools>>>({
      label: "CyclesToolkit.guarded",
      evaluate
    })
  )
  assumeToolkit(toolkit, served)
  return served
}

/** The subject of a request. */
export const subjectOf = (subject: SubjectOf, request: Effect.Effect<Request.Request>) =>
  typeof subject === "function"
    ? Effect.map(request, (request) => subject(request) ?? Subject.none)
    : Effect.succeed(subject ?? Subject.none)

// ---------------------------------------------------------------------------------------------------------------------
// calls
// ---------------------------------------------------------------------------------------------------------------------

const serve = <Tools extends Record<string, Tool.Any>>(
  inner: Toolkit.WithHandler<Tools>,
  subject: SubjectOf
): Toolkit.WithHandler<Tools> => ({
  tools: inner.tools,
  handle: (name, params, toolCallId, parseOptions) =>
    Effect.gen(function* () {
      const tool = Object.hasOwn(inner.tools, name) ? inner.tools[name] : undefined
      if (tool === undefined) return yield* inner.handle(name, params, toolCallId, parseOptions)
      const own = yield* subjectOf(subject, Request.current(tool.name, params))
      const ambient = Subject.merge(yield* Subject.CurrentSubject, own)
      const refusal = yield* refusalOf(tool, params, parseOptions)
      if (refusal !== undefined) return Stream.succeed(refusal)
      const results = yield* Subject.withSubject(inner.handle(name, params, toolCallId, parseOptions), own)
      return results.pipe(
        Stream.catchCause((cause) => unchecked(tool, cause)),
        Stream.provideService(Subject.CurrentSubject, ambient)
      )
    })
})

/** The refusal of a call that needs an approval and doesn't get it. The toolkit reports invalid parameters. */
const refusalOf = <T extends Tool.Any>(
  tool: T,
  params: unknown,
  parseOptions: SchemaAST.ParseOptions | undefined
): Effect.Effect<Tool.HandlerResult<T> | undefined> =>
  Effect.gen(function* () {
    if (tool.needsApproval === undefined || tool.needsApproval === false) return undefined
    const decoded = yield* decode(tool, params, parseOptions)
    if (decoded === undefined || !(yield* Approval.isNeeded(tool, decoded.params))) return undefined
    const approval = yield* Approval.ask(tool.name, params)
    return approval === "approved" ? undefined : Denial.unapproved(tool, approval)
  })

/** The result of a call whose guard failed. Any other cause stays as it is, annotations included. */
const unchecked = <T extends Tool.Any, E>(tool: T, cause: Cause.Cause<E>): Stream.Stream<Tool.HandlerResult<T>, E> => {
  const error = cause.reasons.find(Cause.isFailReason)?.error
  const guardError = guardErrorOf(tool, error)
  if (guardError === undefined) return Stream.failCause(cause)
  return Stream.fromEffect(
    Effect.as(
      Effect.logError(`The budget of a call of ${tool.name} failed`, guardError),
      Denial.failed(tool, guardError)
    )
  )
}

const guardErrorOf = (tool: Tool.Any, error: unknown): BudgetError | undefined =>
  AiError.isAiError(error) && error.module === "CyclesToolkit" && error.method === `${tool.name}.handle`
    ? causeOf(error)
    : undefined
