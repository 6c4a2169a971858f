/**
 * Names are arbitrary JavaScript strings; UTF-8 cannot carry a lone surrogate, and decoders replace different ones
 * by the same U+FFFD, which would make two names one. So names travel in a canonical, well-formed form: a lone
 * surrogate becomes U+FDD0 (a noncharacter) and its four hex digits, and U+FDD0 itself becomes U+FDD0 `fdd0`.
 */
import { LIMITS } from './limits.ts';
import { utf8ByteLength } from './utf8.ts';

const ESCAPE = '\ufdd0';
// With the `u` flag a surrogate class matches only surrogates that are not part of a pair.
const LONE_SURROGATE = /[\ud800-\udfff]/gu;
const LONE_SURROGATE_OR_ESCAPE = /[\ud800-\udfff\ufdd0]/gu;
const ESCAPED = /\ufdd0([0-9a-f]{4})/g;

// Most names are ASCII; this test is cheaper than the replacement.
const NEEDS_ESCAPE = /[\ud800-\udfff\ufdd0]/;

function escapeUnit(unit: string): string {
  return ESCAPE + unit.charCodeAt(0).toString(16).padStart(4, '0');
}

/** What a client sends for `name`. Different names give different canonical names. Not idempotent: apply it once. */
export function canonicalName(name: string): string {
  return NEEDS_ESCAPE.test(name) ? name.replace(LONE_SURROGATE_OR_ESCAPE, escapeUnit) : name;
}

/** What the gateway does to every name that comes in: canonical names pass unchanged, a raw lone surrogate is escaped. Idempotent. */
export function escapeLoneSurrogates(name: string): string {
  return NEEDS_ESCAPE.test(name) ? name.replace(LONE_SURROGATE, escapeUnit) : name;
}

/** The inverse of `canonicalName`, for showing names to people and programs. */
export function originalName(canonical: string): string {
  if (!canonical.includes(ESCAPE)) return canonical;
  return canonical.replace(ESCAPED, (whole, hex: string) => {
    const unit = Number.parseInt(hex, 16);
    const isEscapable = unit === 0xfdd0 || (unit >= 0xd800 && unit <= 0xdfff);
    return isEscapable ? String.fromCharCode(unit) : whole;
  });
}

/** Why a canonical name cannot be used, for people; undefined where it can. */
export function nameProblem(canonical: string): string | undefined {
  if (canonical.length === 0) return 'a name must not be empty';
  // Three bytes a unit is the most UTF-8 takes.
  if (canonical.length * 3 <= LIMITS.maxNameBytes) return undefined;
  const bytes = canonical.length > LIMITS.maxNameBytes ? canonical.length : utf8ByteLength(canonical);
  return bytes > LIMITS.maxNameBytes
    ? `a name takes at most ${LIMITS.maxNameBytes} bytes in UTF-8, this one takes at least ${bytes}: use a shorter one, or a hash of it`
    : undefined;
}
