/**
 * The four APIs of the fake provider: the shapes of their responses, streams, errors and usage.
 */

// ---------------------------------------------------------------------------------------------------------------------
// models
// ---------------------------------------------------------------------------------------------------------------------

/** What happens to a request. */
export const stories = [
  "plain",
  /** Refused with 429. */
  "rate-limited",
  /** Refused because the account has no credit: 429, or 402 from Anthropic. */
  "no-quota",
  /** Refused with 503, or 529 from Anthropic. */
  "overloaded",
  /** Refused with 400, because the prompt is too long. */
  "too-long",
  /** Refused with 502 and a page of a proxy. */
  "proxy",
  /** 500 for the first two requests, then plain. */
  "flaky",
  /** 2 s until the response begins. */
  "slow",
  /** A stream with 100 ms before each word. */
  "drip",
  /** A stream that pauses for 3 s after four words. A whole response takes 3 s. */
  "stall",
  /** The connection is closed after four words, or halfway through a whole response. */
  "dies",
  /** An error in the stream, after four words. A whole response isn't JSON. */
  "midstream",
  /** Two tool calls, until the request has their results. */
  "tool"
] as const

/** A story. */
export type Story = (typeof stories)[number]

/** How usage is reported: with details, without them, with null details, without reasoning in the output, as 0, not at all. */
export const usages = ["full", "bare", "null", "additive", "zero", "none"] as const

/** A shape of usage. */
export type UsageShape = (typeof usages)[number]

/** A server-sent event. Data that isn't a string is sent as JSON. */
export interface Event {
  readonly name?: string
  readonly data: unknown
  readonly isWord?: boolean
}

// ---------------------------------------------------------------------------------------------------------------------
// replies
// ---------------------------------------------------------------------------------------------------------------------

/** A refusal, in the terms of each API. */
export interface Refusal {
  readonly status: number
  readonly openAi: { readonly type: string; readonly code: string | null }
  readonly anthropic: { readonly status: number; readonly type: string }
  readonly google: string
  readonly message: string
}

const refusal = (
  status: number,
  [type, code]: readonly [string, string | null],
  [anthropicStatus, anthropicType]: readonly [number, string],
  google: string,
  message: string
): Refusal => ({
  status,
  openAi: { type, code },
  anthropic: { status: anthropicStatus, type: anthropicType },
  google,
  message
})

/** The refusal of the story `flaky`. */
export const serverError = refusal(500, ["server_error", null], [500, "api_error"], "INTERNAL", "Internal error")

/** The refusals, by the stories that have one. */
export const refusals: { readonly [S in Story]?: Refusal } = {
  "rate-limited": refusal(
    429,
    ["requests", "rate_limit_exceeded"],
    [429, "rate_limit_error"],
    "RESOURCE_EXHAUSTED",
    "Rate limit reached"
  ),
  "no-quota": refusal(
    429,
    ["insufficient_quota", "insufficient_quota"],
    [402, "billing_error"],
    "RESOURCE_EXHAUSTED",
    "You exceeded your current quota, please check your plan and billing details"
  ),
  overloaded: refusal(503, ["server_error", null], [529, "overloaded_error"], "UNAVAILABLE", "Overloaded"),
  "too-long": refusal(
    400,
    ["invalid_request_error", "context_length_exceeded"],
    [400, "invalid_request_error"],
    "INVALID_ARGUMENT",
    "prompt is too long: 200001 tokens > 200000 maximum"
  )
}

/** What a response has. */
export interface Reply {
  readonly model: string
  readonly shape: UsageShape
  readonly words: ReadonlyArray<string>
  readonly calls: ReadonlyArray<{ readonly id: string; readonly name: string; readonly input: object }>
  readonly input: number
  readonly cached: number
  readonly output: number
  readonly reasoning: number
  readonly isCut: boolean
  /** Whether the stream of chat completions reports its usage. */
  readonly hasUsage: boolean
}

/** The words of every text. */
const allWords =
  "Budgets that hold are asked first and charged last so that no agent ever spends more than it may".split(" ")

/** The reply to a request. */
export const replyOf = (
  story: Story,
  shape: UsageShape,
  model: string,
  body: { readonly [field: string]: unknown },
  limit: number | undefined
): Reply => {
  const output = Math.min(30, limit ?? 30)
  const reasoning = Math.min(12, output)
  const isObject = objectOf(body["response_format"])["type"] === "json_schema"
  const text = isObject ? ['{"city":', ' "Oslo"}'] : allWords.slice(0, output - reasoning).map((word) => `${word} `)
  const isToolCall =
    story === "tool" &&
    !/"(tool|tool_result|function_call_output)"|functionResponse/.test(
      JSON.stringify(body["messages"] ?? body["input"] ?? body["contents"])
    )
  return {
    model,
    shape,
    words: isToolCall ? [] : text,
    calls: isToolCall
      ? ["Oslo", "Rome"].map((city, index) => ({ id: `call_${index}`, name: "lookup", input: { city } }))
      : [],
    input: 20,
    cached: 8,
    output,
    reasoning,
    isCut: output < 30,
    hasUsage: objectOf(body["stream_options"])["include_usage"] === true
  }
}

export const objectOf = (value: unknown): { readonly [field: string]: unknown } =>
  typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value)) : {}

const numberOf = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined)

// ---------------------------------------------------------------------------------------------------------------------
// APIs
// ---------------------------------------------------------------------------------------------------------------------

/** An API: how it is recognised, and what it sends. */
export interface Api {
  readonly path: RegExp
  readonly limit: (body: { readonly [field: string]: unknown }) => number | undefined
  readonly refuse: (refusal: Refusal) => { readonly status: number; readonly value: unknown }
  readonly whole: (reply: Reply) => unknown
  readonly events: (reply: Reply) => Iterable<Event>
  /** The event of the story `midstream`. */
  readonly broken: Event
}

const openAiRefusal: Api["refuse"] = ({ message, openAi, status }) => ({
  status,
  value: { error: { message, param: null, ...openAi } }
})

/** The usage in the two shapes of OpenAI, by the names of their counts. */
const openAiUsage = (input: string, output: string, reply: Reply): unknown => {
  if (reply.shape === "none") return undefined
  const isZero = reply.shape === "zero"
  const additive = reply.shape === "additive" ? reply.reasoning : 0
  const [inputTokens, outputTokens] = isZero ? [0, 0] : [reply.input, reply.output]
  const totals = {
    [`${input}_tokens`]: inputTokens,
    [`${output}_tokens`]: outputTokens - additive,
    total_tokens: inputTokens + outputTokens
  }
  if (reply.shape === "bare" || isZero) return totals
  const isNull = reply.shape === "null"
  return {
    ...totals,
    [`${input}_tokens_details`]: isNull ? null : { cached_tokens: reply.cached },
    [`${output}_tokens_details`]: isNull ? null : { reasoning_tokens: reply.reasoning }
  }
}

const chat: Api = {
  path: /\/chat\/completions$/,
  limit: (body) => numberOf(body["max_completion_tokens"]) ?? numberOf(body["max_tokens"]),
  refuse: openAiRefusal,
  whole: (reply) => ({
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1_700_000_000,
    model: reply.model,
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: reply.calls.length > 0 ? null : reply.words.join(""),
          refusal: null,
          ...(reply.calls.length > 0 ? { tool_calls: reply.calls.map(chatCall) } : {})
        },
        logprobs: null,
        finish_reason: chatFinish(reply)
      }
    ],
    usage: openAiUsage("prompt", "completion", reply)
  }),
  events: function* (reply) {
    const chunk = (delta: object, finish: string | null = null) => ({
      id: "chatcmpl-1",
      object: "chat.completion.chunk",
      created: 1_700_000_000,
      model: reply.model,
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      ...(reply.hasUsage ? { usage: null } : {})
    })
    yield { data: chunk({ role: "assistant", content: "" }) }
    for (const word of reply.words) yield { data: chunk({ content: word }), isWord: true }
    for (const [index, call] of reply.calls.map(chatCall).entries()) {
      yield { data: chunk({ tool_calls: [{ index, ...call, function: { ...call.function, arguments: "" } }] }) }
    }
    // The arguments of the calls are interleaved.
    for (const part of [0, 1]) {
      for (const [index, call] of reply.calls.map(chatCall).entries()) {
        const json = call.function.arguments
        const piece = part === 0 ? json.slice(0, 5) : json.slice(5)
        yield { data: chunk({ tool_calls: [{ index, function: { arguments: piece } }] }) }
      }
    }
    yield { data: chunk({}, chatFinish(reply)) }
    const usage = openAiUsage("prompt", "completion", reply)
    if (reply.hasUsage && usage !== undefined) yield { data: { ...chunk({}), choices: [], usage } }
    yield { data: "[DONE]" }
  },
  broken: { data: { error: { message: "The server had an error", type: "server_error", param: null, code: null } } }
}

const chatCall = ({ id, input, name }: Reply["calls"][number]) => ({
  id,
  type: "function",
  function: { name, arguments: JSON.stringify(input) }
})

const chatFinish = (reply: Reply): string => (reply.calls.length > 0 ? "tool_calls" : reply.isCut ? "length" : "stop")

const responses: Api = {
  path: /\/responses$/,
  limit: (body) => numberOf(body["max_output_tokens"]),
  refuse: openAiRefusal,
  whole: (reply) => responseOf(reply, reply.isCut ? "incomplete" : "completed"),
  events: function* (reply) {
    let sequence = 0
    const event = (name: string, fields: object): Event => ({
      name,
      data: { type: name, sequence_number: sequence++, ...fields }
    })
    yield event("response.created", { response: { ...responseOf(reply, "in_progress"), output: [], usage: null } })
    for (const delta of reply.words) {
      const fields = { item_id: "msg_1", output_index: 0, content_index: 0, delta, logprobs: [] }
      yield { ...event("response.output_text.delta", fields), isWord: true }
    }
    const status = reply.isCut ? "incomplete" : "completed"
    yield event(`response.${status}`, { response: responseOf(reply, status) })
  },
  broken: {
    name: "response.failed",
    data: {
      type: "response.failed",
      sequence_number: 5,
      response: {
        id: "resp_1",
        object: "response",
        status: "failed",
        error: { code: "server_error", message: "The server had an error" },
        output: [],
        usage: null
      }
    }
  }
}

const responseOf = (reply: Reply, status: string) => ({
  id: "resp_1",
  object: "response",
  created_at: 1_700_000_000,
  model: reply.model,
  status,
  error: null,
  incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
  output: [
    {
      type: "message",
      id: "msg_1",
      role: "assistant",
      status: "completed",
      content: [{ type: "output_text", text: reply.words.join(""), annotations: [] }]
    }
  ],
  usage: openAiUsage("input", "output", reply)
})

const messages: Api = {
  path: /\/messages$/,
  limit: (body) => numberOf(body["max_tokens"]),
  refuse: ({ anthropic, message }) => ({
    status: anthropic.status,
    value: { type: "error", error: { type: anthropic.type, message }, request_id: "req_1" }
  }),
  whole: (reply) => messageOf(reply, reply.output),
  events: function* (reply) {
    const event = (name: string, fields: object): Event => ({ name, data: { type: name, ...fields } })
    const start = { ...messageOf(reply, 1), content: [], stop_reason: null }
    yield event("message_start", { message: start })
    yield event("content_block_start", { index: 0, content_block: { type: "text", text: "" } })
    for (const text of reply.words) {
      yield { ...event("content_block_delta", { index: 0, delta: { type: "text_delta", text } }), isWord: true }
    }
    yield event("content_block_stop", { index: 0 })
    yield event("message_delta", {
      delta: { stop_reason: reply.isCut ? "max_tokens" : "end_turn", stop_sequence: null },
      usage: anthropicUsage(reply, reply.output)
    })
    yield event("message_stop", {})
  },
  broken: { name: "error", data: { type: "error", error: { type: "overloaded_error", message: "Overloaded" } } }
}

const messageOf = (reply: Reply, output: number) => ({
  id: "msg_1",
  type: "message",
  role: "assistant",
  model: reply.model,
  content:
    reply.calls.length > 0
      ? reply.calls.map((call) => ({ type: "tool_use", ...call }))
      : [{ type: "text", text: reply.words.join(""), citations: null }],
  stop_reason: reply.calls.length > 0 ? "tool_use" : reply.isCut ? "max_tokens" : "end_turn",
  stop_sequence: null,
  usage: anthropicUsage(reply, output)
})

const anthropicUsage = (reply: Reply, output: number): unknown => {
  const { cached, input, shape } = reply
  if (shape === "none") return undefined
  if (shape === "zero") return { input_tokens: 0, output_tokens: 0 }
  if (shape === "bare") return { input_tokens: input, output_tokens: output }
  const isNull = shape === "null"
  return {
    input_tokens: isNull ? input : input - cached,
    cache_read_input_tokens: isNull ? null : cached,
    cache_creation_input_tokens: isNull ? null : 0,
    output_tokens: output,
    output_tokens_details: isNull ? null : { thinking_tokens: Math.min(output, reply.reasoning) },
    server_tool_use: null
  }
}

const gemini: Api = {
  path: /\/models\/[^:]+:(stream)?[gG]enerateContent/,
  limit: (body) => numberOf(objectOf(body["generationConfig"])["maxOutputTokens"]),
  refuse: ({ google, message, status }) => ({ status, value: { error: { code: status, message, status: google } } }),
  whole: (reply) => chunkOf(reply, reply.words.join(""), reply.output - reply.reasoning, true),
  events: function* (reply) {
    for (const [index, word] of reply.words.entries()) {
      yield { data: chunkOf(reply, word, index + 1, index === reply.words.length - 1), isWord: true }
    }
    if (reply.words.length === 0) yield { data: chunkOf(reply, "", 0, true) }
  },
  broken: { data: { error: { code: 503, message: "Overloaded", status: "UNAVAILABLE" } } }
}

const chunkOf = (reply: Reply, text: string, candidates: number, isLast: boolean) => ({
  candidates: [
    {
      content: { role: "model", parts: [{ text }] },
      index: 0,
      ...(isLast ? { finishReason: reply.isCut ? "MAX_TOKENS" : "STOP" } : {})
    }
  ],
  modelVersion: reply.model,
  responseId: "resp-1",
  usageMetadata: googleUsage(reply, candidates)
})

const googleUsage = ({ cached, input, reasoning, shape }: Reply, candidates: number): unknown => {
  if (shape === "none") return undefined
  if (shape === "zero") return { promptTokenCount: 0, totalTokenCount: 0 }
  const total = { promptTokenCount: input, totalTokenCount: input + candidates + reasoning }
  if (shape === "bare") return total
  return {
    ...total,
    candidatesTokenCount: candidates,
    thoughtsTokenCount: reasoning,
    cachedContentTokenCount: shape === "null" ? null : cached
  }
}

/** The four APIs. */
export const apis: ReadonlyArray<Api> = [chat, responses, messages, gemini]
