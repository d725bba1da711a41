/** Small bodies that decode to more than a client may accept. They are made when they are first needed. */
import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from "node:zlib"

/** A content encoding. */
export type Encoding = "gzip" | "deflate" | "br" | "zstd"

/** Returns a body that decodes to spaces: 1 GiB with gzip, 64 MiB otherwise. */
export const make = (encoding: Encoding): Buffer => {
  const made = bombs.get(encoding) ?? makers[encoding]()
  bombs.set(encoding, made)
  return made
}

const bombs = new Map<Encoding, Buffer>()

const mebibyte = 1_048_576

const spaces = (mebibytes: number): Buffer => Buffer.alloc(mebibytes * mebibyte, 0x20)

const makers: { readonly [E in Encoding]: () => Buffer } = {
  // Decoders concatenate the members of a gzip file.
  gzip: () => Buffer.concat(Array<Buffer>(64).fill(gzipSync(spaces(16)))),
  deflate: () => deflateSync(spaces(64)),
  br: () => brotliCompressSync(spaces(64), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
  zstd: () => zstdCompressSync(spaces(64))
}
