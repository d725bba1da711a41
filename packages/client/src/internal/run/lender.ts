/** The reservations that runs hold, and that the calls in them draw on. */
import type { Unit } from "@effect-cycles/protocol/Amount"

/** A reservation that calls draw on. */
export interface Lender {
  /** Whether calls can draw on it now. */
  readonly canLend: boolean
}

/** A run, as far as its reservations matter. */
interface Run {
  /** This run and the runs around it. */
  readonly chain: ReadonlyArray<Run>
  readonly lenders: ReadonlyMap<Unit, Lender>
}

/** The reservation of the nearest run that holds one, and that run. */
export const lenderOf = <R extends Run>(
  run: R & { readonly chain: ReadonlyArray<R> },
  unit: Unit
): { readonly run: R; readonly lender: Lender } | undefined => {
  for (const around of run.chain) {
    const lender = around.lenders.get(unit)
    if (lender?.canLend === true) return { run: around, lender }
  }
  return undefined
}
