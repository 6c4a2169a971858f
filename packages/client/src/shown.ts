/**
 * What users wrote, in the form in which they wrote it. Names and metadata travel well-formed (protocol/names.ts); a
 * string with a lone surrogate, or with U+FDD0, comes back as it was and not as it was sent.
 */
import { canonicalName, type HolderInfo, type NameInfo, originalName } from './protocol/index.ts';

type Metadata = Readonly<Record<string, string>>;

/** For sending. The same object where nothing is to be done, which is nearly always. */
export function canonicalMetadata(metadata: Metadata): Metadata {
  return mapped(metadata, canonicalName);
}

export function shownHolder(holder: HolderInfo): HolderInfo {
  return holder.metadata === undefined ? holder : { ...holder, metadata: mapped(holder.metadata, originalName) };
}

export function shownInfo(info: NameInfo): NameInfo {
  return { ...info, name: originalName(info.name), holders: info.holders.map(shownHolder) };
}

function mapped(metadata: Metadata, map: (text: string) => string): Metadata {
  const entries = Object.entries(metadata);
  const isSame = entries.every(([key, value]) => map(key) === key && map(value) === value);
  return isSame ? metadata : Object.fromEntries(entries.map(([key, value]) => [map(key), map(value)]));
}
