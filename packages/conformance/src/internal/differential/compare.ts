/**
 * Compares the responses of two servers. Generated ids are mapped: the first time two ids appear at the same place they
 * belong together, and from then on they must appear together. Times only need to be close.
 */

/** A response. */
export interface Received {
  readonly status: number
  readonly contentType: string
  /** The parsed body, or its text if it isn't JSON. */
  readonly body: unknown
}

/** One difference between two responses, at a path such as `body.charged.amount`. */
export interface Difference {
  readonly path: string
  readonly a: unknown
  readonly b: unknown
}

/** The ids that belong together. */
export interface Ids {
  readonly toB: Map<string, string>
  readonly toA: Map<string, string>
}

/** Starts without ids. */
export const makeIds = (): Ids => ({ toB: new Map(), toA: new Map() })

/** Returns the differences of two responses. */
export const compare = (a: Received, b: Received, ids: Ids): ReadonlyArray<Difference> => {
  const found: Array<Difference> = []
  if (a.status !== b.status) found.push({ path: "status", a: a.status, b: b.status })
  if (mediaType(a) !== mediaType(b)) found.push({ path: "content-type", a: mediaType(a), b: mediaType(b) })
  walk("body", a.body, b.body, ids, found)
  return found
}

const mediaType = ({ contentType }: Received): string => (contentType.split(";", 1)[0] ?? "").trim()

const walk = (path: string, a: unknown, b: unknown, ids: Ids, found: Array<Difference>): void => {
  const name = path.slice(path.lastIndexOf(".") + 1)
  if (Array.isArray(a) && Array.isArray(b)) {
    if (a.length !== b.length) found.push({ path: `${path}.length`, a: a.length, b: b.length })
    else a.forEach((one, i) => walk(`${path}[${i}]`, one, b[i], ids, found))
    return
  }
  if (isObject(a) && isObject(b)) {
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)]))
      walk(`${path}.${key}`, a[key], b[key], ids, found)
    return
  }
  if (typeof a === "string" && typeof b === "string" && isGenerated(name)) {
    // Two sides of a retried request may have the same id, so a new pair must be new on both sides.
    const [knownB, knownA] = [ids.toB.get(a), ids.toA.get(b)]
    if (knownB === undefined && knownA === undefined) {
      ids.toB.set(a, b)
      ids.toA.set(b, a)
    } else if (knownB !== b || knownA !== a) found.push({ path, a, b })
    return
  }
  if (isTime(name) && isClose(a, b)) return
  if (typeof a === "string" && typeof b === "string" && withoutIds(a) === withoutIds(b)) return
  if (a !== b) found.push({ path, a, b })
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Whether a field has an id or a secret that the server generates. */
const isGenerated = (name: string): boolean =>
  /^(reservation|event|key|policy|ledger|budget|request|trace)_id$|^key_(secret|prefix)$|^next_cursor$/.test(name)

const isTime = (name: string): boolean => /_ms$|_at$|^effective_/.test(name)

const closeMs = 30_000

const isClose = (a: unknown, b: unknown): boolean => {
  const [timeA, timeB] = [timeOf(a), timeOf(b)]
  return timeA !== undefined && timeB !== undefined && Math.abs(timeA - timeB) <= closeMs
}

/** Milliseconds since 1970, for values that are large enough to be a time. */
const timeOf = (value: unknown): number | undefined => {
  const time = typeof value === "string" ? Date.parse(value) : value
  return typeof time === "number" && time > 1e12 ? time : undefined
}

/** A message without ids and times. */
const withoutIds = (text: string): string =>
  text
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<id>")
    .replaceAll(/\b(key|cyc|pol|led|res|evt)_[A-Za-z0-9_-]{6,}/g, "<id>")
    .replaceAll(/\b1[5-9]\d{11}\b/g, "<time>")
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>")
