/**
 * UTF-8 without `TextEncoder` or `Buffer`: this folder uses nothing but the language, so that it runs and compiles
 * everywhere. Strings here are short; long ones are rare and only slower.
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

/** Writes `text` at `offset`; the caller has made room for `utf8ByteLength(text)`. Returns the end. */
export function writeUtf8(text: string, target: Uint8Array, offset: number): number {
  let position = offset;
  for (let index = 0; index < text.length; index++) {
    let point = text.charCodeAt(index);
    if (point < 0x80) {
      target[position++] = point;
      continue;
    }
    if (point < 0x800) {
      target[position++] = 0xc0 | (point >> 6);
      target[position++] = 0x80 | (point & 0x3f);
      continue;
    }
    if (point >= 0xd800 && point <= 0xdfff) {
      const next = text.charCodeAt(index + 1);
      if (point <= 0xdbff && next >= 0xdc00 && next <= 0xdfff) {
        point = 0x10000 + ((point - 0xd800) << 10) + (next - 0xdc00);
        index++;
        target[position++] = 0xf0 | (point >> 18);
        target[position++] = 0x80 | ((point >> 12) & 0x3f);
        target[position++] = 0x80 | ((point >> 6) & 0x3f);
        target[position++] = 0x80 | (point & 0x3f);
        continue;
      }
      point = 0xfffd;
    }
    target[position++] = 0xe0 | (point >> 12);
    target[position++] = 0x80 | ((point >> 6) & 0x3f);
    target[position++] = 0x80 | (point & 0x3f);
  }
  return position;
}

/** The string in `source[start, end)`, or undefined where it is not well-formed UTF-8 (overlong forms and surrogates included). */
export function readUtf8(source: Uint8Array, start: number, end: number): string | undefined {
  let text = '';
  let index = start;
  // Names are mostly ASCII: eight units a call is where `fromCharCode` with plain arguments stays inlined.
  while (index + 8 <= end) {
    const a = source[index] as number;
    const b = source[index + 1] as number;
    const c = source[index + 2] as number;
    const d = source[index + 3] as number;
    const e = source[index + 4] as number;
    const f = source[index + 5] as number;
    const g = source[index + 6] as number;
    const h = source[index + 7] as number;
    if (((a | b | c | d | e | f | g | h) & 0x80) !== 0) break;
    text += String.fromCharCode(a, b, c, d, e, f, g, h);
    index += 8;
  }
  while (index < end) {
    const lead = source[index] as number;
    if (lead < 0x80) {
      text += String.fromCharCode(lead);
      index += 1;
      continue;
    }
    let point: number;
    let length: number;
    let smallest: number;
    if (lead >= 0xc2 && lead <= 0xdf) {
      point = lead & 0x1f;
      length = 2;
      smallest = 0x80;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      point = lead & 0x0f;
      length = 3;
      smallest = 0x800;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      point = lead & 0x07;
      length = 4;
      smallest = 0x10000;
    } else {
      return undefined;
    }
    if (index + length > end) return undefined;
    for (let follow = index + 1; follow < index + length; follow++) {
      const byte = source[follow] as number;
      if ((byte & 0xc0) !== 0x80) return undefined;
      point = (point << 6) | (byte & 0x3f);
    }
    if (point < smallest || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return undefined;
    text += String.fromCodePoint(point);
    index += length;
  }
  return text;
}
