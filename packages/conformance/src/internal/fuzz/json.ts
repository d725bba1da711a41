/**
 * Mutations of JSON texts and of bytes. They are data, so that a failing list of them shrinks.
 *
 * JSON is mutated as a tree of texts, not of values, because duplicate keys, lone surrogates and numbers of any size
 * have no value.
 */
import * as Schema from "effect/Schema"
import { hugeTexts, keys, values } from "./hostile.ts"

const Index = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 400 }))

/** One change. `at` selects the place and `pick` the replacement, both modulo the number of choices. */
export const Mutation = Schema.Struct({
  kind: Schema.Literals([
    "value",
    "value",
    "huge",
    "remove",
    "duplicate",
    "key",
    "add",
    "nest",
    "truncate",
    "byte",
    "insert",
    "append"
  ]),
  at: Index,
  pick: Index
})

export type Mutation = typeof Mutation.Type

/** At most five changes. */
export const Mutations = Schema.Array(Mutation).check(Schema.isMaxLength(5))

// ---------------------------------------------------------------------------------------------------------------------
// JSON
// ---------------------------------------------------------------------------------------------------------------------

interface Node {
  raw: string
  readonly list?: Array<Node>
  readonly fields?: Array<[key: string, value: Node]>
}

const treeOf = (value: unknown): Node => {
  if (Array.isArray(value)) return { raw: "", list: value.map(treeOf) }
  if (typeof value === "object" && value !== null) {
    return { raw: "", fields: Object.entries(value).map(([key, field]) => [JSON.stringify(key), treeOf(field)]) }
  }
  return { raw: typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? "null") }
}

const textOf = ({ fields, list, raw }: Node): string =>
  raw !== ""
    ? raw
    : list !== undefined
      ? `[${list.map(textOf).join(",")}]`
      : `{${(fields ?? []).map(([key, value]) => `${key}:${textOf(value)}`).join(",")}}`

/** All nodes, the root first. */
const nodesOf = (root: Node): ReadonlyArray<Node> => [
  root,
  ...(root.raw === "" ? [...(root.list ?? []), ...(root.fields ?? []).map(([, value]) => value)].flatMap(nodesOf) : [])
]

/** Returns the JSON text of a value with the changes applied, first those of the tree, then those of the bytes. */
export const mutate = (value: unknown, mutations: ReadonlyArray<Mutation>): Buffer => {
  const root = treeOf(value)
  for (const mutation of mutations) change(root, mutation)
  return mutateBytes(Buffer.from(textOf(root)), mutations)
}

const change = (root: Node, { at, kind, pick }: Mutation): void => {
  const nodes = nodesOf(root)
  const node = choose(nodes, at)
  const objects = nodes.flatMap(({ fields, raw }) => (fields === undefined || raw !== "" ? [] : [fields]))
  const object = objects.length === 0 ? undefined : choose(objects, at)
  switch (kind) {
    case "value":
      node.raw = choose(values, pick)
      return
    case "huge":
      node.raw = choose(hugeTexts, pick)()
      return
    case "nest":
      node.raw = `[${textOf(node)}]`
      return
    case "remove":
      object?.splice(pick % Math.max(1, object.length), 1)
      return
    case "duplicate": {
      const field = object?.[pick % Math.max(1, object.length)]
      if (field !== undefined) object?.push([field[0], { raw: choose(values, at + pick) }])
      return
    }
    case "key": {
      const field = object?.[pick % Math.max(1, object.length)]
      if (field !== undefined) field[0] = choose(keys, at)
      return
    }
    case "add":
      object?.unshift([choose(keys, pick), { raw: choose(values, at) }])
      return
    default:
  }
}

/** Returns the value of a JSON text, or the text itself if it isn't JSON. */
export const valueOf = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Returns an element by its index modulo the length. The list isn't empty. */
export const choose = <A>(list: ReadonlyArray<A>, index: number): A => {
  // An element may be undefined.
  for (const element of list.slice(index % list.length)) return element
  throw new Error("nothing to choose from")
}

// ---------------------------------------------------------------------------------------------------------------------
// bytes
// ---------------------------------------------------------------------------------------------------------------------

/** Applies the changes of bytes: they cut, replace, insert and append. */
export const mutateBytes = (from: Buffer, mutations: ReadonlyArray<Mutation>): Buffer => {
  let bytes = from
  for (const { at, kind, pick } of mutations) {
    const position = Math.floor((bytes.length * at) / 401)
    switch (kind) {
      case "truncate":
        bytes = bytes.subarray(0, position)
        break
      case "byte":
        bytes = Buffer.concat([bytes.subarray(0, position), Buffer.from([pick & 255]), bytes.subarray(position + 1)])
        break
      case "insert":
        bytes = Buffer.concat([bytes.subarray(0, position), choose(chunks, pick), bytes.subarray(position)])
        break
      case "append":
        bytes = Buffer.concat([bytes, choose(chunks, pick)])
        break
      default:
    }
  }
  return bytes
}

/** Byte order marks, invalid UTF-8, separators, control characters and second values. */
const chunks: ReadonlyArray<Buffer> = [
  Buffer.from([0xef, 0xbb, 0xbf]),
  Buffer.from([0xff, 0xfe]),
  Buffer.from([0xc3]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0]),
  Buffer.from([0xf4, 0x90, 0x80, 0x80]),
  Buffer.from("\u2028\u2029"),
  Buffer.from("{}"),
  Buffer.from("]}"),
  Buffer.from("//"),
  Buffer.from("\r\n\r\n"),
  Buffer.from(" ".repeat(70_000)),
  Buffer.from("<html>"),
  Buffer.alloc(300, 0xaa)
]
