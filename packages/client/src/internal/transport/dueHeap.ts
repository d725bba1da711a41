/**
 * A binary heap of things that fall due, with removal from the middle: one fiber can wait for a hundred thousand of
 * them at 9 bytes each.
 */

/** Something that falls due. An entry is in at most one heap. */
export interface Entry {
  /** Milliseconds of the clock that the heap's owner uses. */
  due: number
  /** Where the entry stands in its heap; -1 when it is in none. Kept by the heap. */
  pos: number
}

/** A heap of entries, the one that is due first on top. */
export interface DueHeap<A extends Entry> {
  readonly peek: () => A | undefined
  /** All entries, in no order. */
  readonly all: () => Iterable<A>
  /** Adds an entry, or moves it where its `due` now belongs. */
  readonly put: (entry: A) => void
  /** Takes an entry out; nothing happens where it isn't in. */
  readonly remove: (entry: A) => void
}

/** Makes an empty heap. */
export const make = <A extends Entry>(): DueHeap<A> => {
  const heap: Array<A> = []

  const place = (entry: A, pos: number): void => {
    heap[pos] = entry
    entry.pos = pos
  }

  const up = (entry: A): void => {
    let pos = entry.pos
    while (pos > 0) {
      const parentPos = (pos - 1) >> 1
      const parent = heap[parentPos]
      if (parent === undefined || parent.due <= entry.due) break
      place(parent, pos)
      pos = parentPos
    }
    place(entry, pos)
  }

  const down = (entry: A): void => {
    let pos = entry.pos
    while (true) {
      const leftPos = 2 * pos + 1
      const left = heap[leftPos]
      if (left === undefined) break
      const right = heap[leftPos + 1]
      const child = right !== undefined && right.due < left.due ? right : left
      if (entry.due <= child.due) break
      const childPos = child.pos
      place(child, pos)
      pos = childPos
    }
    place(entry, pos)
  }

  const settle = (entry: A): void => {
    up(entry)
    down(entry)
  }

  return {
    peek: () => heap[0],
    all: () => heap,
    put: (entry) => {
      if (entry.pos < 0) place(entry, heap.length)
      settle(entry)
    },
    remove: (entry) => {
      const pos = entry.pos
      if (pos < 0 || heap[pos] !== entry) return
      entry.pos = -1
      const last = heap.pop()
      if (last === undefined || last === entry) return
      place(last, pos)
      settle(last)
    }
  }
}
