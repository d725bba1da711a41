/** Converts a thrown value to the error of a journal. */
import { JournalError } from "../../SettlementJournal.ts"

/** The error of a failed operation. A `JournalError` stays the same. */
export const problem = (operation: JournalError["operation"], error: unknown): JournalError =>
  error instanceof JournalError ? error : new JournalError({ operation, problem: messageOf(error) })

/** The message of a thrown value. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
