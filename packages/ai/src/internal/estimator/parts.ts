/**
 * The contents of a request: its texts, by the part of the prompt that they are in, and its attachments.
 */
import type * as Prompt from "effect/ai/Prompt"
import * as Tool from "effect/ai/Tool"
import type * as Schema from "effect/Schema"
import { contentOf, tokensOf } from "./attachments.ts"

/** A text of a request. */
export interface Text {
  /** The part, message, tool or schema that has the text. It is the key of cached counts. */
  readonly key: object
  readonly text: string
}

/** An attachment of a request. */
export interface File {
  /** Files of the same class have the same rule, and learn the same correction. */
  readonly kind: string
  readonly tokens: number
}

/** The contents of a prompt. */
export interface Contents {
  readonly texts: ReadonlyArray<Text>
  readonly files: ReadonlyArray<File>
}

// ---------------------------------------------------------------------------------------------------------------------
// prompt
// ---------------------------------------------------------------------------------------------------------------------

/** The texts and the attachments of a prompt. A file that `given` returns tokens for is an attachment, even if it is a text. */
export const contentsOf = (
  prompt: Prompt.Prompt,
  model: string,
  given: (part: Prompt.FilePart) => number | undefined
): Contents => {
  const texts: Array<Text> = []
  const files: Array<File> = []
  const add = (key: object, ...strings: ReadonlyArray<string>): void => {
    const text = strings.filter((string) => string.length > 0).join("\n")
    if (text.length > 0) texts.push({ key, text })
  }
  const addPart = (part: Prompt.Part): void => {
    const hidden = longStrings(part.options)
    switch (part.type) {
      case "text":
      case "reasoning":
        return add(part, part.text, hidden)
      case "file": {
        const content = contentOf(part)
        const tokens = given(part)
        if (tokens !== undefined) files.push({ kind: content.kind, tokens })
        else if (content.kind === "text") return add(part, part.fileName ?? "", content.text, hidden)
        else files.push({ kind: content.kind, tokens: tokensOf(content, model) })
        return add(part, part.fileName ?? "", hidden)
      }
      case "tool-call":
        return add(part, part.id, part.name, json(part.params), hidden)
      case "tool-result":
        if (part.modelOutput === undefined) return add(part, part.id, part.name, json(part.result), hidden)
        part.modelOutput.forEach(addPart)
        return add(part, part.id, part.name, hidden)
      case "tool-approval-request":
        return add(part, part.approvalId, part.toolCallId, hidden)
      case "tool-approval-response":
        return add(part, part.approvalId, part.reason ?? "", hidden)
    }
  }
  for (const message of prompt.content) {
    if (typeof message.content === "string") add(message, message.content, longStrings(message.options))
    else {
      add(message, longStrings(message.options))
      message.content.forEach(addPart)
    }
  }
  return { texts, files }
}

// ---------------------------------------------------------------------------------------------------------------------
// declarations
// ---------------------------------------------------------------------------------------------------------------------

const declarations = new WeakMap<object, string>()

/** The name, description and JSON Schema of a tool. */
export const toolText = (tool: Tool.Any): Text => ({
  key: tool,
  text: cached(tool, () =>
    [tool.name, Tool.getDescription(tool) ?? "", json(Tool.isProviderDefined(tool) ? tool.args : schemaOf(tool))].join(
      "\n"
    )
  )
})

/** The JSON Schema of a structured response. */
export const schemaText = (schema: Schema.Top): Text => ({
  key: schema,
  text: cached(schema, () => {
    try {
      return json(Tool.getJsonSchemaFromSchema(schema))
    } catch {
      return ""
    }
  })
})

const schemaOf = (tool: Tool.Any): unknown => {
  try {
    return Tool.getJsonSchema(tool)
  } catch {
    return {}
  }
}

const cached = (key: object, make: () => string): string => {
  const known = declarations.get(key)
  if (known !== undefined) return known
  const text = make()
  declarations.set(key, text)
  return text
}

/** Whether a tool is run by the provider, so that its results are input that the request doesn't have. */
export const isRunByProvider = (tool: Tool.Any): boolean => Tool.isProviderDefined(tool) && !tool.requiresHandler

// ---------------------------------------------------------------------------------------------------------------------
// values
// ---------------------------------------------------------------------------------------------------------------------

/** A value as JSON; its keys and primitive values if it has none. */
const json = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? ""
  } catch {
    return leaves(value, 0)
  }
}

/**
 * The strings of the options of a part that aren't settings. Providers put encrypted reasoning, signatures and ids of responses
 * there, and their packages send them back.
 */
const longStrings = (options: unknown): string => leaves(options, 32)

/** The most values that `leaves` visits. */
const maxLeaves = 100_000

/** The strings of at least `shortest` characters in a value. Cycles, proxies and getters that throw are left out. */
const leaves = (value: unknown, shortest: number): string => {
  const found: Array<string> = []
  const seen = new Set<unknown>()
  const stack: Array<unknown> = [value]
  try {
    while (stack.length > 0 && seen.size < maxLeaves) {
      const next = stack.pop()
      if (typeof next === "object" && next !== null) {
        if (seen.has(next)) continue
        seen.add(next)
        for (const [key, inner] of Object.entries(next)) {
          if (shortest === 0) found.push(key)
          stack.push(inner)
        }
      } else if (typeof next === "string" ? next.length >= shortest : shortest === 0 && next !== undefined) {
        found.push(String(next))
      }
    }
  } catch {
    // The values found so far are counted.
  }
  return found.join("\n")
}
