/**
 * The length of a text in UTF-8, without making the bytes.
 */

/** Bytes of a text in UTF-8; half a surrogate pair counts as its replacement, 3. */
export const utf8Length = (text: string): number => {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x80) continue
    if (code < 0x800) bytes += 1
    else if (code >= 0xd800 && code < 0xdc00 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      bytes += 2
      i += 1
    } else bytes += 2
  }
  return bytes
}
