/**
 * The numbers of the protocol: what a request may hold at most, and what holds where it says nothing.
 *
 * Source: the schemas of the protocol; the character set of subject values is its recommendation, which servers may
 * enforce.
 */

/** The largest amount and instant. */
export const maxInt64 = 9_223_372_036_854_775_807n

/** The smallest balance. */
export const minInt64 = -9_223_372_036_854_775_808n

/** Characters of an idempotency key, 1 or more. */
export const maxIdempotencyKey = 256

/** Characters of a reservation id, 1 or more. */
export const maxReservationId = 128

/** Characters of a subject field. */
export const maxSubjectValue = 128

/** What a subject field may consist of. */
export const subjectPattern = /^[a-zA-Z0-9_.-]+$/

/** Entries of `dimensions`. */
export const maxDimensions = 16

/** Characters of a value of `dimensions`. */
export const maxDimensionValue = 256

/** Characters of an action's kind. */
export const maxActionKind = 64

/** Characters of an action's name, and of a tool's. */
export const maxActionName = 256

/** Tags of an action. */
export const maxTags = 10

/** Characters of a tag. */
export const maxTag = 64

/** The shortest lifetime of a reservation, in milliseconds. */
export const minTtlMs = 1_000

/** The longest lifetime of a reservation, in milliseconds. */
export const maxTtlMs = 86_400_000

/** The lifetime of a reservation that asks for none, in milliseconds. */
export const defaultTtlMs = 60_000

/** The longest grace period, in milliseconds. */
export const maxGracePeriodMs = 60_000

/** The grace period of a reservation that asks for none, in milliseconds. */
export const defaultGracePeriodMs = 5_000

/** The longest single extension, in milliseconds. */
export const maxExtendByMs = 86_400_000

/** Characters of the reason of a release. */
export const maxReason = 256

/** Characters of `model_version`. */
export const maxModelVersion = 128

/** Rows of a page. */
export const maxPageSize = 200

/** Rows of a page that asks for no number. */
export const defaultPageSize = 50

/** Levels of objects and lists in a value of `metadata` or `custom`: the reference server reads 1,000 in a whole request. */
export const maxJsonDepth = 997

/** The largest count and latency in metrics: the reference server holds them in 32 bits. */
export const maxMetric = 2_147_483_647
