/**
 * UTF-8 without `TextEncoder` or `Buffer`: this folder uses nothing but the language, so that it runs and compiles
 * everywhere.
 */

/** Bytes of `text` in UTF-8. A lone surrogate counts as the three bytes of U+FFFD, which is what gets written. */
export function utf8ByteLength(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) continue;
    if (unit < 0x800) {
      bytes += 1;
      continue;
    }
    bytes += 2;
    if (unit >= 0xd800 && unit <= 0xdbff) {
      const next = text.charCodeAt(index + 1);
      // A pair is four bytes for two units: 2 (both counted once) + 2, and the second unit adds nothing.
      if (next >= 0xdc00 && next <= 0xdfff) index++;
    }
  }
  return bytes;
}

/** Whether `source[start, end)` is well-formed UTF-8: neither overlong forms nor surrogates (Unicode, table 3-7). */
export function isUtf8(source: Uint8Array, start: number, end: number): boolean {
  let index = start;
  while (index < end) {
    const lead = source[index] as number;
    if (lead < 0x80) {
      index += 1;
      continue;
    }
    const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || index + length > end) return false;
    for (let follow = index + 1; follow < index + length; follow++) {
      if (((source[follow] as number) & 0xc0) !== 0x80) return false;
    }
    const second = source[index + 1] as number;
    // The second byte excludes what a shorter form could say, the surrogates, and what lies beyond U+10FFFF.
    if ((lead === 0xe0 && second < 0xa0) || (lead === 0xed && second > 0x9f)) return false;
    if ((lead === 0xf0 && second < 0x90) || (lead === 0xf4 && second > 0x8f)) return false;
    index += length;
  }
  return true;
}
