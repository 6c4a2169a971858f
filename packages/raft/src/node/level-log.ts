/**
 * LevelDB forgets silently: a record of its write-ahead file that fails its checksum is left out, and the next
 * opening rewrites the files, so that a later one finds nothing wrong. Its only trace is a line in its own `LOG`
 * ("dropping 1234 bytes; Corruption: checksum mismatch"). Opening renames `LOG` to `LOG.old`.
 *
 * A torn record at the very end, which a crash leaves behind, is dropped without such a line.
 */
export function complaintsIn(logText: string): string[] {
  return logText
    .split('\n')
    .filter((line) => /dropping \d+ bytes|Corruption|Ignoring error|checksum mismatch/i.test(line));
}
