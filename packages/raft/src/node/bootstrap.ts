import type { Configuration } from '../core/configuration.ts';
import { configurationEntry, decodeConfiguration } from '../core/configuration-codec.ts';
import { ENTRY_KIND, type EntryRun, runOf } from '../core/entry-run.ts';
import { term } from '../core/ids.ts';
import type { HardState } from '../core/ready.ts';

/** How every log of a new cluster begins: its configuration as entry 1 of term 1, committed by definition. */
export function bootstrapState(configuration: Configuration): {
  readonly run: EntryRun;
  readonly hardState: HardState;
} {
  const run = runOf(1, term(1), [configurationEntry(configuration)]);
  return { run, hardState: { term: run.term, votedFor: undefined, commitIndex: run.lastIndex } };
}

/** The configuration a log begins with; undefined where it does not begin at entry 1. */
export function bootstrapConfiguration(first: EntryRun | undefined): Configuration | undefined {
  if (first === undefined || first.firstIndex !== 1 || first.kindOf(first.firstIndex) !== ENTRY_KIND.configuration)
    return undefined;
  return decodeConfiguration(first.entry(first.firstIndex).subarray(1));
}
