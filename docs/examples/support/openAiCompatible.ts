/**
 * A `LanguageModel` over any endpoint that speaks OpenAI's chat completions: vLLM, Ollama, LM Studio, llama.cpp, OpenRouter, Groq,
 * OpenAI itself and others. It needs only `effect`. Copy it and change what your server does differently.
 *
 * It supports texts, images, reasoning, tools, structured objects and streams, and reports usage. The output limit is read from the
 * context of each call, so that `CyclesModel` can set it: pass `outputLimit` to `CyclesModel.layer`. An interrupted call hangs up, and a
 * call isn't retried.
 *
 * An error with a status of 400 or more means that the provider refused the call. Everything that goes wrong after a status below
 * 400 fails with `InvalidOutputError`, because the provider may bill the call.
 */
import { OutputLimit, Usage } from "@effect-cycles/ai"
import { Context, Effect, Layer, Option, Redacted, Schema, Stream } from "effect"
import { AiError, LanguageModel, Model, Prompt, Tool } from "effect/ai"
import type { Response } from "effect/ai"
import { toCodecOpenAI } from "effect/ai/OpenAiStructuredOutput"
import { Sse } from "effect/encoding"
import { HttpClient, HttpClientRequest } from "effect/http"
import type { HttpClientError, HttpClientResponse } from "effect/http"

// ---------------------------------------------------------------------------------------------------------------------
// options
// ---------------------------------------------------------------------------------------------------------------------

/** An endpoint and one of its models. */
export interface Options {
  /** The URL up to `/chat/completions`, for example `http://127.0.0.1:8000/v1`. */
  readonly baseUrl: string
  /** Sent as a bearer token. Default: no authentication. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** The model to ask, for example `qwen3-32b`. */
  readonly model: string
  /** The provider's name in actions and prices, for example `vllm`. Actions are called `vllm:qwen3-32b`. */
  readonly provider: string
  /** The field of the output limit. Default `max_tokens`; OpenAI's reasoning models need `max_completion_tokens`. */
  readonly limitField?: "max_tokens" | "max_completion_tokens" | undefined
}

/** Fields of the request. `max_tokens` is sent in `limitField`. */
export interface Settings {
  /** The model to ask. Default: that of the options. */
  readonly model?: string | undefined
  /** The output limit. `CyclesModel` sets it. */
  readonly max_tokens?: number | undefined
  /** Any other field, for example `temperature`. */
  readonly [field: string]: unknown
}

const configKey = "example/OpenAiCompatible/Config"

/** The settings of the calls of an effect: `Effect.provideService(Config, { temperature: 0 })`. */
export const Config: Context.Service<Settings, Settings> = Context.Service(configKey)

/** The output limit of a call, to pass to `CyclesModel.layer`. */
export const outputLimit = OutputLimit.setting(configKey, "max_tokens")

// ---------------------------------------------------------------------------------------------------------------------
// make
// ---------------------------------------------------------------------------------------------------------------------

/** Provides the model, with its name and its provider's name. */
export const layer = (options: Options) =>
  Model.make(options.provider, options.model, Layer.effect(LanguageModel.LanguageModel, make(options)))

/** Makes the model. */
export const make = (options: Options): Effect.Effect<LanguageModel.LanguageModel, never, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const client = yield* HttpClient.HttpClient

    /** Sends a request, and fails if it was refused. */
    const send = Effect.fnUntraced(function* (
      method: string,
      request: LanguageModel.ProviderOptions,
      more: { readonly [field: string]: unknown }
    ) {
      const settings = Option.getOrElse(yield* Effect.serviceOption(Config), (): Settings => ({}))
      const { max_tokens: limit, model = options.model, ...others } = settings
      const body = {
        ...others,
        model,
        messages: yield* messagesOf(method, request.prompt),
        ...toolFields(request),
        ...formatFields(request),
        ...(limit === undefined ? {} : { [options.limitField ?? "max_tokens"]: limit }),
        ...more
      }
      const response = yield* HttpClientRequest.post(`${options.baseUrl}/chat/completions`).pipe(
        options.apiKey === undefined ? (self) => self : HttpClientRequest.bearerToken(options.apiKey),
        HttpClientRequest.bodyJsonUnsafe(body),
        client.execute,
        Effect.mapError((error) => failedToSend(method, error))
      )
      return response.status < 400 ? response : yield* refused(method, response)
    })

    return yield* LanguageModel.make({
      codecTransformer: toCodecOpenAI,
      generateText: Effect.fnUntraced(function* (request) {
        const response = yield* send("generateText", request, {})
        const event = yield* response.text.pipe(
          Effect.flatMap(decodeEvent),
          Effect.mapError((cause) => invalidOutput("generateText", cause))
        )
        const failure = failureOf("generateText", event)
        if (failure !== undefined) return yield* failure
        const state = newState()
        return wholeParts([...add(state, event), ...ending(state)])
      }),
      streamText: (request) =>
        send("streamText", request, { stream: true, stream_options: { include_usage: true } }).pipe(
          Effect.map((response) =>
            response.stream.pipe(
              Stream.decodeText(),
              Stream.pipeThroughChannel(Sse.decode()),
              Stream.takeWhile((event) => event.data !== "[DONE]"),
              Stream.mapEffect((event) => decodeEvent(event.data)),
              Stream.mapError((cause) => invalidOutput("streamText", cause)),
              Stream.mapEffect((event) => failureOf("streamText", event) ?? Effect.succeed(event)),
              // The reason to finish comes before the usage, and the finish part has both: it is made at the end.
              Stream.mapAccum(newState, (state, event) => [state, add(state, event)] as const, { onHalt: ending })
            )
          ),
          Stream.unwrap
        )
    })
  })

// ---------------------------------------------------------------------------------------------------------------------
// requests
// ---------------------------------------------------------------------------------------------------------------------

const messagesOf = Effect.fnUntraced(function* (method: string, prompt: Prompt.Prompt) {
  const messages: Array<{ readonly [field: string]: unknown }> = []
  for (const message of prompt.content) {
    switch (message.role) {
      case "system": {
        messages.push({ role: "system", content: message.content })
        break
      }
      case "user": {
        const parts = yield* Effect.forEach(message.content, (part) => userPart(method, part))
        const [only] = parts
        messages.push({ role: "user", content: parts.length === 1 && only?.type === "text" ? only.text : parts })
        break
      }
      case "assistant": {
        const calls = message.content.flatMap((part) =>
          part.type === "tool-call" && !part.providerExecuted
            ? [{ id: part.id, type: "function", function: { name: part.name, arguments: jsonOf(part.params) } }]
            : []
        )
        const text = message.content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("")
        if (text === "" && calls.length === 0) break
        messages.push({
          role: "assistant",
          content: text === "" ? null : text,
          ...(calls.length === 0 ? {} : { tool_calls: calls })
        })
        break
      }
      case "tool": {
        for (const part of message.content) {
          if (part.type !== "tool-result") continue
          const content =
            part.modelOutput === undefined ? jsonOf(part.result) : Prompt.toolModelOutputToText(part.modelOutput)
          messages.push({ role: "tool", tool_call_id: part.id, content })
        }
        break
      }
    }
  }
  return messages
})

type UserPart =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image_url"; readonly image_url: { readonly url: string } }

const userPart = (method: string, part: Prompt.UserMessagePart): Effect.Effect<UserPart, AiError.AiError> => {
  if (part.type === "text") return Effect.succeed({ type: "text", text: part.text })
  if (!part.mediaType.startsWith("image/")) {
    return failWith(
      method,
      new AiError.InvalidUserInputError({ description: `Files of type ${part.mediaType} aren't supported` })
    )
  }
  const mediaType = part.mediaType === "image/*" ? "image/jpeg" : part.mediaType
  const url =
    part.data instanceof URL
      ? part.data.href
      : `data:${mediaType};base64,${typeof part.data === "string" ? part.data : Buffer.from(part.data).toString("base64")}`
  return Effect.succeed({ type: "image_url", image_url: { url } })
}

/** A string as it is, anything else as JSON. */
const jsonOf = (value: unknown): string => (typeof value === "string" ? value : (JSON.stringify(value) ?? "null"))

const toolFields = ({ toolChoice, tools }: LanguageModel.ProviderOptions): object => {
  const isOneOf = typeof toolChoice === "object" && "oneOf" in toolChoice
  const sent = isOneOf ? tools.filter((tool) => toolChoice.oneOf.includes(tool.name)) : tools
  if (sent.length === 0) return {}
  return {
    tools: sent.map((tool) => ({
      type: "function",
      function: { name: tool.name, description: Tool.getDescription(tool), parameters: Tool.getJsonSchema(tool) }
    })),
    tool_choice:
      typeof toolChoice === "string"
        ? toolChoice
        : "tool" in toolChoice
          ? { type: "function", function: { name: toolChoice.tool } }
          : (toolChoice.mode ?? "auto")
  }
}

const formatFields = ({ responseFormat }: LanguageModel.ProviderOptions): object =>
  responseFormat.type === "text"
    ? {}
    : {
        response_format: {
          type: "json_schema",
          json_schema: {
            name: responseFormat.objectName,
            strict: true,
            schema: toCodecOpenAI(responseFormat.schema).jsonSchema
          }
        }
      }

// ---------------------------------------------------------------------------------------------------------------------
// responses
// ---------------------------------------------------------------------------------------------------------------------

/** Servers leave fields out, or set them to null. */
const orNothing = <S extends Schema.Constraint>(schema: S) => Schema.optional(Schema.NullOr(schema))

const Text = orNothing(Schema.String)

/** The message of a whole response, or the delta of an event. They have the same fields. */
const Message = Schema.Struct({
  content: Text,
  reasoning: Text,
  reasoning_content: Text,
  tool_calls: orNothing(
    Schema.Array(
      Schema.Struct({
        index: orNothing(Schema.Number),
        id: Text,
        function: orNothing(Schema.Struct({ name: Text, arguments: Text }))
      })
    )
  )
})

/** A whole response, or an event of a stream. */
const Event = Schema.Struct({
  id: Text,
  model: Text,
  choices: orNothing(
    Schema.Array(Schema.Struct({ message: orNothing(Message), delta: orNothing(Message), finish_reason: Text }))
  ),
  // `Usage.fromOpenAi` accepts anything.
  usage: orNothing(Schema.Record(Schema.String, Schema.Unknown)),
  error: Schema.optional(Schema.Unknown)
})

type Event = typeof Event.Type

const decodeEvent = Schema.decodeUnknownEffect(Schema.fromJsonString(Event))

/** The response so far. */
interface State {
  isStarted: boolean
  /** The part that is open, by its kind. */
  open: "text" | "reasoning" | undefined
  parts: number
  readonly calls: Map<number, { id: string; name: string; json: string }>
  reason: string | undefined
  usage: Usage.Usage | undefined
}

const newState = (): State => ({
  isStarted: false,
  open: undefined,
  parts: 0,
  calls: new Map(),
  reason: undefined,
  usage: undefined
})

/** Adds an event to the response, and returns the parts that it makes. */
const add = (state: State, event: Event): ReadonlyArray<Response.StreamPartEncoded> => {
  const parts: Array<Response.StreamPartEncoded> = []
  if (!state.isStarted) {
    state.isStarted = true
    parts.push({ type: "response-metadata", id: event.id ?? undefined, modelId: event.model ?? undefined })
  }
  // Some servers report the usage in every event, and some repeat it: the largest counts.
  const usage = Usage.fromOpenAi(event.usage)
  if (usage !== undefined) state.usage = state.usage === undefined ? usage : Usage.larger(state.usage, usage)

  const choice = event.choices?.[0]
  state.reason = choice?.finish_reason ?? state.reason
  const message = choice?.message ?? choice?.delta
  parts.push(...addText(state, "reasoning", message?.reasoning_content ?? message?.reasoning ?? ""))
  parts.push(...addText(state, "text", message?.content ?? ""))
  for (const [position, call] of (message?.tool_calls ?? []).entries()) {
    // The pieces of a call have its index; only the first one has its id and its name.
    const index = call.index ?? position
    const known = state.calls.get(index) ?? { id: "", name: "", json: "" }
    state.calls.set(index, {
      id: known.id || (call.id ?? ""),
      name: known.name || (call.function?.name ?? ""),
      json: known.json + (call.function?.arguments ?? "")
    })
  }
  return parts
}

const addText = (state: State, kind: "text" | "reasoning", delta: string): Array<Response.StreamPartEncoded> => {
  if (delta === "") return []
  const parts: Array<Response.StreamPartEncoded> = []
  if (state.open !== kind) {
    parts.push(...close(state))
    state.open = kind
    state.parts += 1
    parts.push({ type: `${kind}-start`, id: String(state.parts) })
  }
  parts.push({ type: `${kind}-delta`, id: String(state.parts), delta })
  return parts
}

const close = (state: State): Array<Response.StreamPartEncoded> => {
  const { open } = state
  if (open === undefined) return []
  state.open = undefined
  return [{ type: `${open}-end`, id: String(state.parts) }]
}

/** The parts at the end of a response. */
const ending = (state: State): ReadonlyArray<Response.StreamPartEncoded> => [
  ...close(state),
  ...Array.from(state.calls.values(), ({ id, json, name }): Response.ToolCallPartEncoded => ({
    type: "tool-call",
    // Some servers send no ids.
    id: id || `call_${crypto.randomUUID()}`,
    name,
    params: paramsOf(json)
  })),
  { type: "finish", reason: reasonOf(state), usage: usageOf(state.usage), response: undefined }
]

/** Arguments that aren't JSON are passed on as a string, which the tool's schema refuses. */
const paramsOf = (json: string): unknown => (json.trim() === "" ? {} : Option.getOrElse(decodeJson(json), () => json))

const decodeJson = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Unknown))

const reasonOf = ({ calls, reason }: State): Response.FinishReason => {
  switch (reason) {
    case "stop":
      // Some servers finish with `stop` after tool calls.
      return calls.size > 0 ? "tool-calls" : "stop"
    case "length":
      return "length"
    case "content_filter":
      return "content-filter"
    case "tool_calls":
    case "function_call":
      return "tool-calls"
    default:
      return "unknown"
  }
}

const usageOf = (usage: Usage.Usage | undefined): Response.FinishPartEncoded["usage"] =>
  usage === undefined
    ? {
        inputTokens: { uncached: undefined, total: undefined, cacheRead: undefined, cacheWrite: undefined },
        outputTokens: { total: undefined, text: undefined, reasoning: undefined }
      }
    : {
        inputTokens: {
          uncached: usage.inputTokens - usage.cacheReadTokens - usage.cacheWriteTokens,
          total: usage.inputTokens,
          cacheRead: usage.cacheReadTokens,
          cacheWrite: usage.cacheWriteTokens
        },
        outputTokens: {
          total: usage.outputTokens,
          text: usage.outputTokens - usage.reasoningTokens,
          reasoning: usage.reasoningTokens
        }
      }

/** The parts of a stream, as those of a whole response. */
const wholeParts = (parts: ReadonlyArray<Response.StreamPartEncoded>): Array<Response.PartEncoded> =>
  parts.flatMap((part): Array<Response.PartEncoded> => {
    switch (part.type) {
      case "text-delta":
        return [{ type: "text", text: part.delta }]
      case "reasoning-delta":
        return [{ type: "reasoning", text: part.delta }]
      case "response-metadata":
      case "tool-call":
      case "finish":
        return [part]
      default:
        return []
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// errors
// ---------------------------------------------------------------------------------------------------------------------

const failWith = (method: string, reason: AiError.AiErrorReason): Effect.Effect<never, AiError.AiError> =>
  Effect.fail(AiError.make({ module: "OpenAiCompatible", method, reason }))

const invalidOutput = (method: string, cause: unknown): AiError.AiError =>
  AiError.make({
    module: "OpenAiCompatible",
    method,
    reason: new AiError.InvalidOutputError({ description: cause instanceof Error ? cause.message : String(cause) })
  })

/** An error in a response with a status below 400. */
const failureOf = (method: string, event: Event): Effect.Effect<never, AiError.AiError> | undefined =>
  event.error === undefined || event.error === null
    ? undefined
    : Effect.fail(invalidOutput(method, `The provider failed: ${jsonOf(event.error)}`))

const failedToSend = (method: string, error: HttpClientError.HttpClientError): AiError.AiError => {
  const { reason } = error
  switch (reason._tag) {
    case "TransportError":
    case "EncodeError":
    case "InvalidUrlError":
      return AiError.make({
        module: "OpenAiCompatible",
        method,
        reason: AiError.NetworkError.fromRequestError(reason)
      })
    default:
      return invalidOutput(method, error)
  }
}

const refused = (
  method: string,
  response: HttpClientResponse.HttpClientResponse
): Effect.Effect<never, AiError.AiError> =>
  Effect.flatMap(
    Effect.orElseSucceed(response.text, () => ""),
    (body) => {
      const http = { response: { status: response.status, headers: response.headers }, body }
      // An account without credit is refused with 429 as well, but a later attempt doesn't help.
      const reason = /insufficient_quota|billing/i.test(body)
        ? new AiError.QuotaExhaustedError({ http })
        : AiError.reasonFromHttpStatus({ status: response.status, http, description: body.slice(0, 500) })
      return failWith(method, reason)
    }
  )
